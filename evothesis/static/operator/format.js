/** What numbers, times and elements look like. Everything that strangers sent only ever becomes text, never markup. */

const MINUTE_SECONDS = 60;
const HOUR_SECONDS = 3_600;
const DAY_SECONDS = 86_400;

const whole = new Intl.NumberFormat('en-GB', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en-GB', { maximumSignificantDigits: 3 });
const percent = new Intl.NumberFormat('en-GB', { style: 'percent', maximumFractionDigits: 2 });
const toMinute = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const toSecond = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const toDay = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });

/** @param {number} number */
export function count(number) {
  return whole.format(number);
}

/** @param {number} number three figures of it */
export function rough(number) {
  return short.format(number);
}

/** @param {number} part @param {number} [of] */
export function share(part, of = 1) {
  return percent.format(of ? part / of : 0);
}

/** @param {number} number @param {string} noun */
export function several(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? '' : 's'}`;
}

/** @param {number} bytes */
export function size(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length - 1, bytes ? Math.floor(Math.log2(bytes) / 10) : 0);
  return `${short.format(bytes / 1024 ** power)} ${units[power]}`;
}

/** @param {number} seconds */
export function duration(seconds) {
  if (seconds < MINUTE_SECONDS) return `${whole.format(seconds)} s`;
  if (seconds < HOUR_SECONDS) return `${whole.format(seconds / MINUTE_SECONDS)} min`;
  if (seconds < 2 * DAY_SECONDS) return `${whole.format(seconds / HOUR_SECONDS)} h`;
  return `${whole.format(seconds / DAY_SECONDS)} days`;
}

/** @param {string | number} moment to the second */
export function clock(moment) {
  return toSecond.format(new Date(moment));
}

/** @param {string} moment to the minute */
export function timeOfDay(moment) {
  return toMinute.format(new Date(moment));
}

/** @param {string | null} moment how long ago it was, or when, if that was not today */
export function ago(moment) {
  if (!moment) return 'never';
  const seconds = Math.max(0, (Date.now() - new Date(moment).getTime()) / 1_000);
  return seconds < DAY_SECONDS ? `${duration(seconds)} ago` : toDay.format(new Date(moment));
}

/** @param {string} id @returns {any} the element, of whatever kind it is */
export function part(id) {
  return document.getElementById(id);
}

/** @param {string} tag @param {string} className @param {...(string | Node)} content */
export function make(tag, className, ...content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content);
  return element;
}

/** @param {string} text a sentence in which commands and settings stand between backquotes */
export function sentence(text) {
  const piece = document.createDocumentFragment();
  for (const [number, words] of text.split('`').entries()) piece.append(number % 2 ? make('code', '', words) : words);
  return piece;
}

/** @param {string} id of a list of terms @param {[string, string | Node, string?][]} lines a term, what it says, its class */
export function define(id, lines) {
  part(id).replaceChildren(
    ...lines.map(([term, text, className = '']) => make('div', '', make('dt', '', term), make('dd', className, text))),
  );
}
