/**
 * Queue: events in, batches to the collector out, each until it has answered for it; every retry sends the same bytes.
 *
 * Without the visitor's consent nothing leaves the page: events wait in memory, or are dropped.
 */
import { forget, forgetDevice, keep, recall, sessionId, stored, useDevice, uuid, visitorId } from './device.js';
import { isOver, options, safely, script } from './page.js';

const COLLECT_PATH = '/collect';
// browsers let 64 KiB outlive a page; the collector refuses an event of more than 32 KiB
const BATCH_EVENTS_MAX = 10;
const BATCH_BYTES_MAX = 60_000;
const EVENT_BYTES_MAX = 30_000;
// the storage is the site's: take little of it; the server recognises a repeated event for 72 hours
const QUEUE_LENGTH_MAX = 262_144;
const QUEUE_AGE_MS_MAX = 237_600_000; // 66 hours
const HELD_EVENTS_MAX = 200;
const FIRST_WAIT_MS = 1_000;
const ACTIVE_WAIT_MS = 5_000;
const IDLE_WAIT_MS = 60_000;
const RETRY_WAIT_MS_MAX = 300_000;
// so long an answer is waited for; until then a batch is for the tab that made it, or that sent it last
const TURN_MS = 10_000;

let consent = ''; // granted, denied; anything else waits
let held = /** @type {string[]} */ ([]); // until the visitor has decided
let events = /** @type {string[]} */ ([]); // not yet in a batch, and what that batch will be
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
  }
}

/** @param {string | string[]} text */
const bytesOf = (text) => new TextEncoder().encode(`${text}`).length;

/** @param {string} event JSON @param {boolean} isFirst whether a visit begins with it, which is to be seen at once */
export function push(event, isFirst) {
  if (bytesOf(event) > EVENT_BYTES_MAX || held.length >= HELD_EVENTS_MAX) return countDropped(1);
  if (!isGranted()) return held.push(event);
  const current = sessionId();
  activeAt = Date.now();
  if (current !== session || bytesOf([...events, event]) > BATCH_BYTES_MAX) seal();
  if (!events[0]) eventsSince = activeAt;
  session = current;
  if (events.push(event) >= BATCH_EVENTS_MAX) return seal();
  sealIn(isFirst ? FIRST_WAIT_MS : IDLE_WAIT_MS);
  if (events[1]) active();
}

/** A visitor who is there leaves: events cannot wait for silence. */
export function active() {
  if (isOver(activeAt, IDLE_WAIT_MS)) {
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
    const head = JSON.stringify({
      eventType: 'batch',
      batchId,
      sentAt: new Date(),
      sessionId: session,
      visitorId: visitorId(),
      siteId: options.site || location.hostname,
    });
    const key = `batch.${batchId}.${events.length}`;
    take(key, `${head.slice(0, -1)},"events":[${events}]}`);
    unsent.add(key);
    events = [];
  }
  if (!leaving) deliver();
  // there is no time for a lock, and these are this tab's own
  else if (Date.now() >= pauseUntil) for (const key of [...unsent]) send(key, true);
}

/** Before a batch stands since when it is this tab's. @param {string} key @param {string} body */
const take = (key, body) => keep(key, Date.now() + body);

/** Batches that wait, oldest first: a UUIDv7 sorts by its time. */
const queued = () => stored('batch.').sort();

/** @param {number} count */
const countDropped = (count) => keep('dropped', `${count + Number(recall('dropped'))}`);

function trim() {
  let lengthLeft = QUEUE_LENGTH_MAX;
  for (const key of queued().reverse()) {
    lengthLeft -= recall(key).length;
    const isOld = isOver(Number.parseInt(key.slice(6).replace('-', ''), 16), QUEUE_AGE_MS_MAX);
    if (lengthLeft >= 0 && !isOld) continue;
    countDropped(Number(key.split('.')[2]));
    forget(key);
  }
}

/** @param {Event} [online] that the way was found open just now */
export function deliver(online) {
  trim();
  if (online) retryAt = pauseUntil;
  if (retryAt > Date.now() || !queued()[0]) return lookAgain();
  // one tab at a time; without https there are no locks: then two that are told at once look one after the other
  if (navigator.locks) navigator.locks.request('evothesis', drain).catch(drain);
  else setTimeout(safely(drain), FIRST_WAIT_MS * Math.random());
}

/** When a retry is due; or whether this tab may take over what another left. */
function lookAgain() {
  clearTimeout(retryTimer);
  if (queued()[0]) retryTimer = setTimeout(safely(deliver), Math.max(FIRST_WAIT_MS, retryAt - Date.now()));
}

async function drain() {
  const key = queued().find((key) => unsent.has(key) || isOver(Number.parseInt(recall(key), 10), TURN_MS));
  if (key && (await send(key))) return drain();
  lookAgain();
}

/** Answers whether there is a point in sending more. @param {string} key @param {boolean} [leaving] */
async function send(key, leaving) {
  const body = recall(key).replace(/^\d+/, '');
  unsent.delete(key);
  if (!body) return true; // another tab was faster
  take(key, body);
  try {
    const url = new URL(COLLECT_PATH, script.src);
    if (leaving && !('keepalive' in Request.prototype)) return navigator.sendBeacon(url, body);
    // a string goes as text/plain, which needs no preflight
    const { status, headers } = await fetch(url, {
      method: 'POST',
      body,
      keepalive: true,
      credentials: 'omit',
      signal: AbortSignal.timeout?.(TURN_MS),
    });
    if (status < 500 && status !== 408 && status !== 429) {
      failures = 0;
      return forget(key);
    }
    // seconds, as our collector has them
    pauseUntil = Date.now() + (Number(headers.get('Retry-After')) * 1_000 || 0);
  } catch {} // offline, or blocked
  failures += 1;
  const backoff = Math.min(RETRY_WAIT_MS_MAX, 1_000 * 2 ** failures) * (0.5 + Math.random() / 2);
  retryAt = Math.max(pauseUntil, Date.now() + backoff);
  unsent.add(key);
  return lookAgain();
}
