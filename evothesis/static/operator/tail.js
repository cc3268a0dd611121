/** The live tail: events of a site as the server stores them; after a cut it goes on behind the last one that it has. */

import { ask, stream } from './api.js';
import { ago, clock, count, make, part, several } from './format.js';

const ROWS_MAX = 200;
const RETRY_MS = 2_000;
const TYPES_MAX = 8; // the most frequent ones of a site

let socket = /** @type {WebSocket | null} */ (null);
let retry = 0;
let cursor = '';
let seen = 0;

/** @param {() => void} lookAround is told that the server hung up: it may have had a reason */
export function prepareTail(lookAround) {
  part('watch').addEventListener('submit', (/** @type {Event} */ event) => {
    event.preventDefault();
    if (socket || retry) stopTail('Stopped.');
    else begin(lookAround);
  });
}

/** @param {string} site */
export function watchSite(site) {
  stopTail('');
  part('site').value = site;
  part('watch').requestSubmit();
  part('watch').scrollIntoView({ block: 'start' });
  part('watching').focus();
}

/** @param {string} text */
export function stopTail(text) {
  clearTimeout(retry);
  retry = 0;
  const old = socket;
  socket = null; // so that its end is not taken for a cut
  old?.close();
  part('watching').textContent = 'Watch';
  part('tail-state').textContent = text;
}

/** @param {() => void} lookAround */
function begin(lookAround) {
  cursor = '';
  seen = 0;
  part('tail').replaceChildren();
  part('tail').hidden = true;
  part('watching').textContent = 'Stop';
  part('tail-state').textContent = 'Connecting …';
  connect(lookAround);
  showTypes(part('site').value.trim());
}

/** What is known of the site already. @param {string} site */
async function showTypes(site) {
  const where = part('tail-types');
  where.textContent = '';
  const found = site && (await ask(`events/count?by=type&site=${encodeURIComponent(site)}`).catch(() => null));
  if (!found || part('site').value.trim() !== site) return;
  const types = Object.entries(found.types).slice(0, TYPES_MAX);
  const since = found.types_since ? `Since ${ago(found.types_since)}` : 'Stored so far';
  if (types.length)
    where.textContent = `${since}: ${types.map(([type, events]) => `${type} ${count(events)}`).join(', ')}.`;
}

/** @param {() => void} lookAround */
function connect(lookAround) {
  retry = 0;
  const site = part('site').value.trim();
  const made = stream({ ...(site && { site }), ...(cursor && { since: cursor }) });
  socket = made;
  made.addEventListener('message', (message) => {
    if (socket !== made) return;
    const told = JSON.parse(message.data);
    cursor = told.cursor;
    add(told.events);
    part('tail-state').textContent = seen
      ? `${several(seen, 'event')} since you watch.`
      : `Connected; nothing from ${site || 'anybody'} yet. Open a page that has the tag.`;
  });
  made.addEventListener('close', () => {
    if (socket !== made) return;
    socket = null;
    part('tail-state').textContent = 'Cut off; connecting again …';
    retry = setTimeout(() => connect(lookAround), RETRY_MS);
    lookAround();
  });
}

/** @param {any[]} events the newest last */
function add(events) {
  const list = part('tail');
  seen += events.length;
  list.hidden = seen === 0;
  list.prepend(...events.slice(-ROWS_MAX).reverse().map(line));
  while (list.children.length > ROWS_MAX) list.lastElementChild.remove();
}

/** @param {any} event */
function line(event) {
  const button = make(
    'button',
    '',
    make('span', 'quiet', clock(event.created_at)),
    make('span', 'type', event.event_type),
    make('span', 'site', event.site_id),
    make('span', 'where', event.path ?? event.url ?? ''),
  );
  const item = make('li', '', button);
  button.setAttribute('type', 'button');
  button.setAttribute('aria-expanded', 'false');
  button.addEventListener('click', () => {
    const open = item.querySelector('pre');
    if (open) open.remove();
    else item.append(make('pre', '', JSON.stringify(event, null, 2)));
    button.setAttribute('aria-expanded', String(!open));
  });
  return item;
}
