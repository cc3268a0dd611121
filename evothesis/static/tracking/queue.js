/**
 * Queue: events in, batches to the collector out, each until it has answered for it; every retry sends the same bytes.
 *
 * Without the visitor's consent nothing leaves the page: events wait in memory, or are dropped.
 */
import { forget, forgetDevice, keep, recall, sessionId, stored, useDevice, uuid, visitorId } from './device.js';
import { options, safely, script } from './page.js';

const COLLECT_PATH = '/collect';
// browsers let 64 KiB outlive a page; the collector refuses an event of more than 32 KiB
const BATCH_EVENTS_MAX = 10;
const BATCH_BYTES_MAX = 60_000;
const EVENT_BYTES_MAX = 30_000;
// the storage is the site's: take little of it; the server recognises a repeated event for 72 hours
const QUEUE_EVENTS_MAX = 200;
const QUEUE_LENGTH_MAX = 262_144;
const QUEUE_AGE_MS_MAX = 237_600_000; // 66 hours
const FIRST_WAIT_MS = 1_000;
const ACTIVE_WAIT_MS = 5_000;
const IDLE_WAIT_MS = 60_000;
const ANSWER_WAIT_MS = 30_000;
const RETRY_WAIT_MS_MAX = 300_000;
const OWNER_WAIT_MS = 5_000; // until then only the tab that made a batch sends it

let consent = ''; // granted, denied; anything else waits
let held = /** @type {string[]} */ ([]); // until the visitor has decided
let events = /** @type {string[]} */ ([]); // not yet in a batch, and what that batch will be
let eventsBytes = 0;
let eventsSince = 0;
let session = '';
let sealAt = Infinity;
let sealTimer = 0;
let activeAt = 0;
const unsent = /** @type {Set<string>} */ (new Set()); // batches that are for this tab to send
let failures = 0;
let pauseUntil = 0;
let retryAt = 0;
let retryTimer = 0;

export const isGranted = () => consent === 'granted';
export const isDenied = () => consent === 'denied';

/** @param {string} state what the visitor has decided: granted, denied, pending */
export function decide(state) {
  const waiting = held;
  consent = state;
  if (isGranted()) {
    useDevice();
    held = [];
    for (const event of waiting) push(event, true);
    deliver();
  } else if (isDenied()) {
    forgetDevice();
    held = [];
    events = [];
    eventsBytes = 0;
  }
}

/** @param {string} event JSON @param {boolean} isFirst whether a visit begins with it, which is to be seen at once */
export function push(event, isFirst) {
  const bytes = new TextEncoder().encode(event).length;
  if (bytes > EVENT_BYTES_MAX || held.length >= QUEUE_EVENTS_MAX) return countDropped(1);
  if (!isGranted()) return held.push(event);
  const current = sessionId();
  activeAt = Date.now();
  if (current !== session || eventsBytes + bytes > BATCH_BYTES_MAX) seal();
  if (!events[0]) eventsSince = activeAt;
  session = current;
  eventsBytes += bytes;
  if (events.push(event) >= BATCH_EVENTS_MAX) return seal();
  sealIn(isFirst ? FIRST_WAIT_MS : IDLE_WAIT_MS);
  if (events[1]) active();
}

/** A visitor who is there leaves: events cannot wait for silence. */
export function active() {
  if (Date.now() > activeAt + IDLE_WAIT_MS) {
    activeAt = Date.now();
    sessionId();
  }
  // late events wait a moment more: a movement and the click that follows belong together
  if (events[0]) sealIn(Math.max(FIRST_WAIT_MS, eventsSince + ACTIVE_WAIT_MS - Date.now()));
}

/** @param {number} wait */
function sealIn(wait) {
  if (Date.now() + wait >= sealAt) return; // never later than was promised before
  clearTimeout(sealTimer);
  sealAt = Date.now() + wait;
  sealTimer = setTimeout(safely(seal), wait);
}

/** @param {boolean} [leaving] */
export function seal(leaving) {
  clearTimeout(sealTimer);
  sealAt = Infinity;
  if (events[0]) {
    const batchId = uuid();
    const siteId = options.site || location.hostname;
    const ids = { sessionId: session, visitorId: visitorId(), siteId };
    const head = JSON.stringify({ eventType: 'batch', batchId, sentAt: new Date(), ...ids });
    const key = `batch.${batchId}.${events.length}`;
    keep(key, `${head.slice(0, -1)},"events":[${events}]}`);
    unsent.add(key);
    events = [];
    eventsBytes = 0;
  }
  if (!leaving) deliver();
  // there is no time for a lock, and these are this tab's own
  else if (Date.now() >= pauseUntil) for (const key of [...unsent]) send(key, true);
}

/** Batches that wait, oldest first: a UUIDv7 sorts by its time. */
const queued = () => stored('batch.').sort();

/** How old a batch is in ms, or how far ahead of a clock that was set back. @param {string} key */
const age = (key) => Math.abs(Date.now() - Number.parseInt(key.slice(6).replace('-', ''), 16));

/** @param {number} count */
const countDropped = (count) => keep('dropped', `${count + Number(recall('dropped'))}`);

function trim() {
  let eventsLeft = QUEUE_EVENTS_MAX;
  let lengthLeft = QUEUE_LENGTH_MAX;
  for (const key of queued().reverse()) {
    const size = Number(key.split('.')[2]);
    eventsLeft -= size;
    lengthLeft -= recall(key).length;
    if (eventsLeft >= 0 && lengthLeft >= 0 && age(key) < QUEUE_AGE_MS_MAX) continue;
    countDropped(size);
    forget(key);
  }
}

/** @param {boolean} [online] whether the way was found open just now */
export function deliver(online) {
  trim();
  if (online) retryAt = pauseUntil;
  if (retryAt > Date.now() || !queued()[0]) return lookAgain();
  // one tab at a time; without https there are no locks, and what two tabs send the server counts once
  if (navigator.locks) navigator.locks.request('evothesis', drain).catch(drain);
  else drain();
}

/** When a retry is due, or when this tab may take over what another left. */
function lookAgain() {
  clearTimeout(retryTimer);
  const wait = retryAt - Date.now();
  if (queued()[0]) retryTimer = setTimeout(safely(deliver), wait > 0 ? wait : OWNER_WAIT_MS);
}

async function drain() {
  const next = () => queued().find((key) => unsent.has(key) || age(key) > OWNER_WAIT_MS);
  for (let key = next(); key && (await send(key)); ) key = next();
  lookAgain();
}

/** Answers whether there is a point in sending more. @param {string} key @param {boolean} [leaving] */
async function send(key, leaving) {
  const body = recall(key);
  unsent.delete(key);
  if (!body) return true; // another tab was faster
  try {
    const url = new URL(COLLECT_PATH, script.src);
    if (leaving && !('keepalive' in Request.prototype)) return navigator.sendBeacon(url, body);
    const signal = AbortSignal.timeout?.(ANSWER_WAIT_MS);
    // a string goes as text/plain, which needs no preflight
    const answer = await fetch(url, { method: 'POST', body, keepalive: true, credentials: 'omit', signal });
    const { status } = answer;
    if (status < 500 && status !== 408 && status !== 429) {
      failures = 0;
      return forget(key);
    }
    // seconds, as our collector has them
    pauseUntil = Date.now() + (Number(answer.headers.get('Retry-After')) * 1_000 || 0);
  } catch {} // offline, or blocked
  failures += 1;
  const backoff = Math.min(RETRY_WAIT_MS_MAX, 1_000 * 2 ** failures) * (0.5 + Math.random() / 2);
  retryAt = Math.max(pauseUntil, Date.now() + backoff);
  unsent.add(key);
  return lookAgain();
}
