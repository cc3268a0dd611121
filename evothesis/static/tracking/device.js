/**
 * The device: what the tracker remembers there, and who that makes the visitor.
 *
 * It remembers nothing there before `useDevice`: until then, and where the browser forbids it, this page does.
 */
import { isOver, options, safely } from './page.js';

const SESSION_IDLE_MS = 1_800_000;
const PREFIX = 'evothesis.';
const REFUSAL = `${PREFIX}optout`; // the one thing that is kept because nothing is to be kept
export const isCookieless = options.cookieless !== undefined;
let storage = /** @type {Record<string, string>} */ ({});

const deviceStorage = () => /** @type {Record<string, string>} */ (safely(() => localStorage)() ?? {});

/** @param {string} key */
export const recall = (key) => storage[PREFIX + key] ?? '';

/** @param {string} key */
export const forget = (key) => delete storage[PREFIX + key];

/** @param {string} prefix */
export const stored = (prefix) =>
  Object.keys(storage)
    .filter((key) => key.startsWith(PREFIX + prefix))
    .map((key) => key.slice(PREFIX.length));

/** @param {string} key @param {string} value */
export function keep(key, value) {
  try {
    storage[PREFIX + key] = value;
  } catch {
    storage = { ...storage, [PREFIX + key]: value }; // full, or forbidden: this page remembers by itself
  }
}

/** From now on, unless the tag says `data-cookieless`. What the device knows already stands. */
export function useDevice() {
  const memory = storage;
  if (isCookieless) forgetDevice();
  else storage = deviceStorage();
  for (const [key, value] of Object.entries(memory)) if (!storage[key]) keep(key.slice(PREFIX.length), value);
}

export function forgetDevice() {
  const device = deviceStorage();
  for (const key of Object.keys(device)) if (key.startsWith(PREFIX) && key !== REFUSAL) delete device[key];
  storage = {};
}

/** Whether the visitor has opted out on this device. @param {boolean} [state] what it is from now on */
export function optedOut(state) {
  const device = deviceStorage();
  if (state) device[REFUSAL] = '1';
  if (state === false) delete device[REFUSAL];
  return REFUSAL in device;
}

export function visitorId() {
  const id = recall('visitor') || uuid();
  keep('visitor', id);
  return id;
}

/** One session for all tabs, until nobody was there for half an hour. */
export function sessionId() {
  const [id, at] = recall('session').split(' ');
  const session = isOver(at, SESSION_IDLE_MS) ? uuid() : `${id}`;
  keep('session', `${session} ${Date.now()}`);
  return session;
}

/** UUIDv7: RFC 9562, section 5.7. */
export function uuid() {
  let hex = Date.now().toString(16).padStart(12, '0');
  for (const byte of crypto.getRandomValues(new Uint8Array(10))) hex += (byte + 256).toString(16).slice(1);
  return hex.replace(/(.{8})(.{4}).(.{3}).(.{3})/, '$1-$2-7$3-8$4-');
}
