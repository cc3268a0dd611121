/** The operator's page: asks for a token, then asks the API again and again and shows what it says. */

import { ask, keep, Trouble, token } from './api.js';
import { draw } from './chart.js';
import { clock, part } from './format.js';
import {
  known,
  say,
  showAdvice,
  showExports,
  showFigures,
  showObjectives,
  showParts,
  showSites,
  showUsage,
} from './panels.js';
import { prepareTail, stopTail, watchSite } from './tail.js';

const TICK_MS = 1_000;
const LOSS_EVENTS_MAX = 200_000; // measured without being asked for: it reads all of them
const UNAUTHORIZED = 401;
const FORBIDDEN = 403;

/** What is asked, every so many seconds, and who shows it. */
const plan = [
  { path: 'health', seconds: 5, show: showParts, dueAt: 0 },
  { path: 'events/traffic', seconds: 5, show: showTraffic, dueAt: 0 },
  { path: 'export/status', seconds: 15, show: showExports, dueAt: 0 },
  { path: 'objectives', seconds: 15, show: showObjectives, dueAt: 0 },
  { path: 'usage', seconds: 60, show: showUsage, dueAt: 0 },
  { path: 'sites', seconds: 60, show: mergeSites, dueAt: 0 },
];
/** By name. @type {Map<string, any>} */
const sites = new Map();
let answeredAt = 0;
let ticking = 0;
let hasMeasured = false;

function open() {
  part('door').hidden = true;
  part('board').hidden = false;
  for (const one of plan) one.dueAt = 0;
  writeTag('');
  ticking = setInterval(tick, TICK_MS);
  tick();
}

/** @param {string} refusal why, if it was not the person who left */
function leave(refusal) {
  clearInterval(ticking);
  stopTail('');
  keep('');
  part('board').hidden = true;
  part('door').hidden = false;
  part('refusal').textContent = refusal;
  part('token').focus();
}

function tick() {
  if (document.hidden) return;
  for (const one of plan.filter((one) => one.dueAt <= Date.now())) {
    one.dueAt = Number.POSITIVE_INFINITY; // until there is an answer
    answer(one).finally(() => {
      one.dueAt = Date.now() + one.seconds * 1_000;
    });
  }
}

/** @param {typeof plan[number]} one */
async function answer(one) {
  try {
    known[one.path] = await ask(one.path);
  } catch (trouble) {
    return fail(/** @type {Trouble} */ (trouble), one.path);
  }
  if (part('board').hidden) return; // left meanwhile
  one.show();
  showFigures();
  showAdvice();
  if (one.path === 'events/traffic') {
    answeredAt = Date.now();
    part('as-of').textContent = clock(answeredAt);
    part('away').hidden = true;
  }
}

/** @param {Trouble} trouble @param {string} path */
function fail(trouble, path) {
  if (trouble.status === UNAUTHORIZED || trouble.status === FORBIDDEN) return leave(sentenceOf(trouble));
  if (path !== 'events/traffic') return; // it is asked most often, and with the others
  const since = answeredAt ? `What stands here is of ${clock(answeredAt)}. ` : '';
  say(part('away'), `${sentenceOf(trouble)} ${since}It is asked again every few seconds.`);
  part('away').hidden = false;
}

/** @param {Trouble} trouble */
function sentenceOf(trouble) {
  return `${trouble.message.charAt(0).toUpperCase()}${trouble.message.slice(1)}.`;
}

function showTraffic() {
  const { minutes, hours } = known['events/traffic'];
  draw('minutes', minutes, 'minute');
  draw('hours', hours, 'hour');
}

/** The first page of sites; those behind it stay as they were when they were asked for. */
function mergeSites() {
  for (const site of known.sites.sites) sites.set(site.site_id, site);
  known.next ??= known.sites.next;
  part('more').hidden = !known.next;
  showSites([...sites.values()], watchSite);
  if (hasMeasured || !sites.size) return;
  const events = [...sites.values()].reduce((total, site) => total + site.events, 0);
  if (events <= LOSS_EVENTS_MAX) measure();
  else part('loss').hidden = false;
}

async function more() {
  const page = await ask(`sites?after=${encodeURIComponent(known.next)}`).catch(() => null);
  if (!page) return say(part('loss-state'), 'That failed; try again.');
  for (const site of page.sites) sites.set(site.site_id, site);
  known.next = page.next ?? '';
  part('more').hidden = !page.next;
  showSites([...sites.values()], watchSite);
}

async function measure() {
  hasMeasured = true;
  part('loss').hidden = true;
  try {
    const found = await ask('sites?loss=true&limit=1000');
    known.losses = Object.fromEntries(found.sites.map((/** @type {any} */ site) => [site.site_id, site.tracker_loss]));
    say(part('loss-state'), `What browsers lost was measured at ${clock(Date.now())}.`);
    showSites([...sites.values()], watchSite);
  } catch {
    say(part('loss-state'), 'What browsers lost takes too long to measure here: `evothesis usage --loss` does it.');
  }
}

/** @param {string} origin nothing: the configured one */
async function writeTag(origin) {
  try {
    const told = await ask(origin ? `tag?origin=${encodeURIComponent(origin)}` : 'tag');
    part('tag').textContent = told.tag;
    part('tag-of-version').textContent = told.tag_of_version;
    if (!origin) part('origin').value = told.origin;
    const isNowhere = told.origin.endsWith('HOST');
    say(part('place-state'), isNowhere ? 'server.public_url is not set: put the real name in place of HOST.' : '');
  } catch (trouble) {
    say(part('place-state'), sentenceOf(/** @type {Trouble} */ (trouble)));
  }
}

/** @param {HTMLButtonElement} button */
async function copy(button) {
  const source = part(button.dataset.copies ?? '');
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = 'Copied';
  } catch {
    getSelection()?.selectAllChildren(source); // the page was not come to by https: the person copies what is selected
    button.textContent = 'Selected';
  }
}

part('entry').addEventListener('submit', async (/** @type {Event} */ event) => {
  event.preventDefault();
  keep(part('token').value.trim());
  try {
    await ask('events/traffic');
    part('token').value = '';
    open();
  } catch (trouble) {
    leave(sentenceOf(/** @type {Trouble} */ (trouble)));
  }
});
part('place').addEventListener('submit', (/** @type {Event} */ event) => {
  event.preventDefault();
  writeTag(part('origin').value.replace(/\/+$/, '').toLowerCase());
});
for (const button of document.querySelectorAll('button[data-copies]'))
  button.addEventListener('click', () => copy(/** @type {HTMLButtonElement} */ (button)));
part('leave').addEventListener('click', () => leave(''));
part('more').addEventListener('click', more);
part('loss').addEventListener('click', measure);
prepareTail(tick);
if (token()) open();
else {
  part('door').hidden = false;
  part('token').focus();
}
