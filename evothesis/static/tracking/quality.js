/**
 * Quality: what goes wrong on the page, and how fast it is.
 */
import { listen, navigation } from './page.js';
import { redact, redactUrl } from './text.js';
import { atEnd, record } from './view.js';

const ERRORS_MAX = 10; // of a page: one that fails in a loop fails a thousand times
const SHIFT_GAP_MS = 1_000;
const SHIFT_WINDOW_MS = 5_000;
const seen = /** @type {string[]} */ ([]);

export function watchErrors() {
  listen('error unhandledrejection', ({ target, message, filename, lineno, colno, reason }) => {
    if (target instanceof Element) return; // a picture that is not there
    const data = {
      message: redact(String(message ?? reason?.message ?? reason)),
      source: redactUrl(filename),
      line: lineno,
      column: colno,
    };
    const key = JSON.stringify(data);
    if (seen.includes(key) || seen.push(key) > ERRORS_MAX) return;
    record('error', data);
  });
}

/** Web vitals, as web.dev defines them; what a browser cannot measure is absent. */
export function watchVitals() {
  const vitals = /** @type {Record<string, number>} */ ({});
  let sum = 0; // of layout shifts that belong together, and when the first and the last of them were
  let from = 0;
  let to = 0;
  let isTold = false;

  /** @param {number} time */
  const sinceStart = (time) => Math.round(time - (navigation?.activationStart ?? 0));
  if (navigation) vitals.ttfb = sinceStart(navigation.responseStart);
  observe('paint', ({ name, startTime }) => {
    if (name === 'first-contentful-paint') vitals.fcp = sinceStart(startTime);
  });
  observe('largest-contentful-paint', ({ startTime }) => {
    vitals.lcp = sinceStart(startTime);
  });
  const canShift = observe('layout-shift', ({ hadRecentInput, startTime, value }) => {
    if (hadRecentInput) return;
    if (startTime > to + SHIFT_GAP_MS || startTime > from + SHIFT_WINDOW_MS) {
      from = startTime;
      sum = 0;
    }
    to = startTime;
    sum += value;
    vitals.cls = Math.max(vitals.cls ?? 0, Math.round(sum * 1_000) / 1_000);
  });
  if (canShift) vitals.cls = 0;
  observe('event', ({ interactionId, duration }) => {
    // of fifty interactions and more one would be forgiven; we forgive none
    if (interactionId) vitals.inp = Math.max(vitals.inp ?? 0, duration);
  });
  atEnd((cause) => {
    if (isTold || cause === 'route') return;
    isTold = true;
    record('vitals', vitals);
  });
}

/** Whether the browser can. @param {string} type @param {(entry: any) => void} take */
function observe(type, take) {
  const options = /** @type {any} */ ({ type, buffered: true, durationThreshold: 40 });
  const canObserve = PerformanceObserver.supportedEntryTypes.includes(type);
  if (canObserve) new PerformanceObserver((list) => list.getEntries().forEach(take)).observe(options);
  return canObserve;
}
