/** Panels: what the API answered, as a person reads it. */

import { ago, count, define, duration, make, part, rough, sentence, several, share, size } from './format.js';

const LATE_SECONDS = 6 * 3_600; // as `evothesis doctor` judges it
const REJECTED_SHARE_MAX = 0.01;

/** @typedef {{what: string, todo: string, isSevere?: boolean}} Advice */
/** @typedef {import('./chart.js').Stretch} Stretch */

/** What was answered last, by its path. @type {Record<string, any>} */
export const known = {};

export function showFigures() {
  const { 'events/traffic': traffic, health, 'export/status': exports, usage } = known;
  const figures = [];
  if (traffic) {
    const minute = traffic.minutes.at(-2).events; // the last one that is over
    const day = sum(traffic.hours, 'events');
    figures.push(['Last minute', count(minute), `${rough(minute / 60)} a second`]);
    figures.push(['Last day', count(day), `${count(sum(traffic.hours, 'rejected'))} rejected`]);
  }
  if (health) {
    const { bytes, oldest_seconds: oldest } = health.spool;
    figures.push(['Waiting in the spool', size(bytes), bytes ? `the oldest for ${duration(oldest)}` : 'all is loaded']);
  }
  if (exports) {
    const lags = exports.destinations.map((/** @type {any} */ one) => one.lag);
    const most = lags.reduce((/** @type {any} */ a, /** @type {any} */ b) => (b.events > a.events ? b : a), lags[0]);
    const waits = most?.events ? `the oldest for ${duration(most.seconds)}` : 'all is delivered';
    figures.push(['Not delivered yet', count(most?.events ?? 0), waits]);
  }
  if (usage) figures.push(['This month', money(usage.amount, usage.currency), several(usage.events, 'event')]);
  part('figures').replaceChildren(
    ...figures.map(([term = '', figure = '', more = '']) =>
      make('div', '', make('dt', '', term), make('dd', '', figure), make('dd', '', more)),
    ),
  );
}

/** @returns {Advice[]} what needs a person, the worst first */
function found() {
  const { health, 'events/traffic': traffic, 'export/status': exports, objectives } = known;
  const reasons = new Set(health?.reasons ?? []);
  // a destination's own error says more than that there is one
  const advice = (health?.advice ?? []).filter((/** @type {Advice} */ one) => !one.what.startsWith('destination '));
  const said = advice.map((/** @type {Advice} */ one) => ({ ...one, isSevere: reasons.has(one.what) }));
  for (const one of exports?.destinations ?? []) {
    if (one.error) said.push({ what: `${one.destination}: ${one.error}`, todo: one.hint ?? 'run `evothesis export`' });
    else if (one.lag.seconds > LATE_SECONDS)
      said.push({
        what: `${one.destination} waits for ${duration(one.lag.seconds)}`,
        todo: 'run `evothesis export`, and see whether its timer runs',
      });
  }
  const rejected = sum(traffic?.minutes ?? [], 'rejected');
  const judged = rejected + sum(traffic?.minutes ?? [], 'events');
  if (rejected > REJECTED_SHARE_MAX * judged)
    said.push({
      what: `${several(rejected, 'event')} of the last hour ${rejected === 1 ? 'was' : 'were'} rejected`,
      todo: 'see whose, and why: `GET /events/rejected`',
    });
  for (const one of objectives?.objectives ?? [])
    if (one.is_met === false && one.name !== 'deliveries')
      said.push({ what: `Objective missed: ${actual(one)} ${one.text}`, todo: 'see docs/metrics.md, “Objectives”' });
  return said;
}

export function showAdvice() {
  const advice = found();
  const isSevere = advice.some((one) => one.isSevere);
  const state = part('state');
  const text = advice.length ? `${several(advice.length, 'thing')} ${advice.length === 1 ? 'needs' : 'need'} you` : '';
  say(state, isSevere ? 'Events are not stored' : text || 'All is well');
  state.className = `state ${isSevere ? 'bad' : text ? 'warn' : 'well'}`;
  document.title = advice.length ? `(${advice.length}) Evothesis` : 'Evothesis';
  const items = advice.map((one) =>
    make('li', one.isSevere ? 'severe' : '', make('strong', '', one.what), sentence(one.todo)),
  );
  part('advice').replaceChildren(...(items.length ? items : [make('li', 'none', 'Nothing.')]));
}

/** Say something once: who has it read aloud is not told the same again and again. @param {HTMLElement} where @param {string} text */
export function say(where, text) {
  if (where.textContent !== text) where.textContent = text;
}

export function showParts() {
  const { spool, loader, database } = known.health;
  const seen = loader.seen_seconds_ago;
  const room = `${size(spool.bytes)} of ${size(spool.bytes_max)} (${share(spool.bytes, spool.bytes_max)})`;
  const segments = spool.waiting_segments;
  const waits = segments ? `${several(segments, 'segment')} waiting for the loader` : 'nothing waits for the loader';
  define('parts', [
    ['Spool', `${room}; ${waits}`],
    ['Loader', seen === null ? 'never seen' : `seen ${duration(seen)} ago`, seen === null || seen > 10 ? 'bad' : ''],
    ['Database', database.reason ?? 'connected', database.reason ? 'bad' : ''],
  ]);
}

export function showExports() {
  const { destinations } = known['export/status'];
  part('exports').replaceChildren(
    ...destinations.map((/** @type {any} */ one) =>
      row(
        make('th', '', one.destination, make('small', '', one.url)),
        state(one),
        number(count(one.lag.events)),
        number(one.lag.events ? duration(one.lag.seconds) : '–'),
        number(count(one.rows)),
        number(one.manifest === null ? '–' : count(one.manifest)),
        number(ago(one.succeeded_at)),
      ),
    ),
  );
}

/** @param {any} one a destination */
function state(one) {
  if (one.error) {
    const why = [make('span', 'why', one.error), make('span', 'why', sentence(one.hint ?? ''))];
    return condition(make('span', 'bad', `failed ${several(one.failures, 'time')}`), ...why);
  }
  if (one.lag.seconds > LATE_SECONDS) return condition(make('span', 'warn', 'late'));
  if (one.manifest === null) return condition('nothing delivered yet');
  return condition(one.lag.events ? 'waits for the next run' : make('span', 'well', 'has all'));
}

/** @param {...(string | Node)} content */
function condition(...content) {
  return make('td', 'condition', ...content);
}

/** @param {any[]} sites @param {(site: string) => void} watch */
export function showSites(sites, watch) {
  part('sites-none').hidden = sites.length > 0;
  part('sites-table').hidden = !sites.length;
  part('known').replaceChildren(
    ...sites.map((site) => Object.assign(document.createElement('option'), { value: site.site_id })),
  );
  part('sites').replaceChildren(
    ...sites.map((site) => {
      const name = make('button', '', site.site_id);
      name.title = `Watch the events of ${site.site_id}`;
      name.addEventListener('click', () => watch(site.site_id));
      const counts = [site.events, site.bots, site.duplicates, site.rejected, site.withheld];
      return row(
        make('th', '', name),
        number(site.last_seen_at ? ago(site.last_seen_at) : 'not in these days'),
        ...counts.map((figure) => number(count(figure))),
        lost(site),
      );
    }),
  );
}

/** @param {any} site */
function lost(site) {
  const loss = known.losses?.[site.site_id];
  if (!known.losses) return number('–');
  if (!loss) return number('no tracker');
  const cell = number(share(loss.lost, loss.sent));
  cell.title = `${count(loss.lost)} of ${count(loss.sent)} events that browsers numbered`;
  return cell;
}

export function showUsage() {
  const { usage } = known;
  const { forecast, currency } = usage;
  const busiest = usage.sites.toSorted((/** @type {any} */ a, /** @type {any} */ b) => b.events - a.events).slice(0, 3);
  const names = busiest.map((/** @type {any} */ site) => `${site.site_id} ${share(site.events, usage.events)}`);
  say(part('instance'), usage.instance);
  say(part('month'), usage.month);
  define('usage', [
    ['So far', `${money(usage.amount, currency)} for ${several(usage.billable, 'billable event')}`],
    [
      'May come to',
      forecast
        ? `${money(forecast.amount, currency)} for ${several(forecast.billable, 'event')}`
        : 'there was no whole day yet to judge by',
    ],
    ['Not billed', `${several(usage.bots, 'bot event')}, ${several(usage.duplicates, 'duplicate')}`],
    ['Busiest', names.join(' · ') || 'nothing came in'],
  ]);
}

export function showObjectives() {
  const { seconds, objectives } = known.objectives;
  say(part('window'), `of the last ${duration(seconds)}`);
  define(
    'objectives',
    objectives.map((/** @type {any} */ one) => [
      one.is_met === null ? '–' : actual(one),
      make(
        'span',
        '',
        `${one.text}; ${one.unit === 'share' ? `more than ${share(one.target)}` : `less than ${one.target} ms`} `,
        make('span', one.is_met === false ? 'bad' : 'well', { true: 'met', false: 'missed' }[String(one.is_met)] ?? ''),
      ),
    ]),
  );
}

/** @param {any} one an objective */
function actual(one) {
  return one.unit === 'share' ? share(one.actual) : `${rough(one.actual)} ms`;
}

/** @param {Stretch[]} stretches @param {'events' | 'rejected'} name */
function sum(stretches, name) {
  return stretches.reduce((total, stretch) => total + stretch[name], 0);
}

/** @param {string} amount as the server rounded it @param {string} currency */
function money(amount, currency) {
  return `${amount} ${currency}`;
}

/** @param {...Node} cells the first is the row's name */
function row(...cells) {
  /** @type {HTMLElement} */ (cells[0]).setAttribute('scope', 'row');
  return make('tr', '', ...cells);
}

/** @param {string} text */
function number(text) {
  return make('td', 'number', text);
}
