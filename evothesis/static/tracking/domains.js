/**
 * Domains: a visitor who follows a link to another domain of the same owner stays the same visitor there.
 */
import { isCookieless, keep, sessionId, visitorId } from './device.js';
import { isOver, listed } from './page.js';
import { isGranted } from './queue.js';

const PARAMETER = 'evothesis';
const FRESH_MS = 60_000; // a link that was shared names nobody
const domains = isCookieless ? [] : listed('domains');

/** @param {string} name */
const isOurs = (name) => domains.some((domain) => name === domain || name.endsWith(`.${domain}`));

/** The link names the visitor for as long as the browser takes to follow it. @param {HTMLAnchorElement} link */
export function handOver(link) {
  const { href, hostname } = link;
  if (!isGranted() || !isOurs(hostname)) return;
  const url = new URL(href);
  url.searchParams.set(PARAMETER, `${visitorId()}.${sessionId()}.${Date.now()}`);
  link.href = url.href;
  setTimeout(() => {
    link.href = href;
  });
}

/** Who came by such a link, once there is a place to keep it. */
export function takeOver() {
  const url = new URL(location.href);
  const [visitor, session, at] = (url.searchParams.get(PARAMETER) ?? '').split('.');
  if (!at) return;
  url.searchParams.delete(PARAMETER);
  history.replaceState(history.state, '', url);
  if (isOver(at, FRESH_MS) || !isOurs(new URL(document.referrer).hostname)) return;
  keep('visitor', `${visitor}`);
  keep('session', `${session} ${Date.now()}`);
}
