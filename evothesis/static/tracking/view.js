/**
 * View: the page, or the route in it, that events belong to; its first event is the page view.
 *
 * The events of a view are numbered, so that whoever has them can tell how many are missing.
 */
import { forget, recall, uuid } from './device.js';
import { host, listen, navigation, off, safely } from './page.js';
import { isDenied, push } from './queue.js';
import { redact, redactUrl } from './text.js';

/** @typedef {'route' | 'hidden' | 'gone'} Cause of a view's end; a page that is hidden may come back */

const SEARCH = /^(q|s|query|search|search_query|keywords?|term)$/i;
const steps = /** @type {((cause: Cause) => void)[]} */ ([]);
let id = '';
let url = '';
let path = '';
let sequence = 0;

/** What is recorded when a view ends. @param {(cause: Cause) => void} step */
export const atEnd = (step) => steps.push(safely(step));

/** @param {Cause} cause */
export const end = (cause) => {
  for (const step of steps) step(cause);
};

/** @param {string} eventType @param {object} data */
export function record(eventType, data) {
  if (isDenied() || off.includes(eventType)) return;
  if (!url) enter(); // whatever comes first, it happened on a page
  const eventId = uuid();
  id ||= eventId;
  const numbered = { viewId: id, sequence: sequence + 1, ...data };
  const event = JSON.stringify({ eventType, eventId, timestamp: new Date(), url, path, data: numbered });
  sequence += 1;
  push(event, id === eventId);
}

/** @param {string} [cause] what brought another route */
export function enter(cause) {
  if (isDenied()) return; // should the visitor agree later, the page is entered then
  // a fragment is a place in the page, unless it is written like a route
  const address = redactUrl(location.href.replace(/#(?![!/]).*/, ''));
  const isArrival = !url || cause === 'restore';
  if (address === url && !isArrival) return;
  if (!isArrival) end('route');
  const data = {
    title: redact(document.title),
    referrer: isArrival ? redactUrl(document.referrer) : url,
    screen: { width: screen.width, height: screen.height },
    viewport: { width: innerWidth, height: innerHeight },
    language: navigator.language,
    // the first use of Intl takes some 25 ms of the main thread; Temporal is not everywhere yet
    timeZone: host.Temporal?.Now.timeZoneId() ?? Intl.DateTimeFormat().resolvedOptions().timeZone,
    navigationType: url ? cause : navigation?.type,
    dropped: Number(recall('dropped')) || undefined,
  };
  forget('dropped');
  id = '';
  sequence = 0;
  url = address;
  path = redactUrl(location.pathname);
  record('pageview', data);
  for (const [parameter, term] of new URLSearchParams(location.search)) {
    if (SEARCH.test(parameter) && term) record('search', { parameter, term: redact(term) });
  }
}

export function watchRoutes() {
  /** @param {string} cause */
  const later = (cause) => setTimeout(safely(enter), 0, cause); // a page changes its title after its address
  for (const name of /** @type {const} */ (['pushState', 'replaceState'])) {
    const change = history[name];
    history[name] = (...state) => {
      change.apply(history, state);
      later(name);
    };
  }
  listen('popstate hashchange', ({ type }) => later(type));
  listen('pageshow', ({ persisted }) => persisted && enter('restore'));
}
