/** Bars of minutes or hours. */

import { count, make, part, timeOfDay } from './format.js';

const SVG = 'http://www.w3.org/2000/svg';
const BAR_WIDTH = 10;
const BAR_GAP = 1.5;
const HEIGHT = 100;

/** @typedef {{begins_at: string, events: number, duplicates: number, rejected: number, withheld: number}} Stretch */

/** @param {string} id of a figure @param {Stretch[]} stretches the last one is not over @param {string} unit */
export function draw(id, stretches, unit) {
  const figure = part(id);
  if (!figure.firstChild) {
    const image = document.createElementNS(SVG, 'svg');
    image.setAttribute('role', 'img');
    image.setAttribute('preserveAspectRatio', 'none');
    figure.append(make('div', 'most'), image, make('div', 'axis'));
  }
  const [most, image, axis] = figure.children;
  const top = stretches.reduce((best, stretch) => (stretch.events > best.events ? stretch : best));
  const sum = stretches.reduce((total, stretch) => total + stretch.events, 0);
  image.setAttribute('viewBox', `0 0 ${stretches.length * BAR_WIDTH} ${HEIGHT}`);
  image.setAttribute('aria-label', described(sum, top, unit));
  while (image.children.length < stretches.length) image.append(bar(image.children.length));
  stretches.forEach((stretch, number) => {
    set(image.children[number], stretch, top.events, number === stretches.length - 1);
  });
  const peak = top.events ? `most: ${count(top.events)} at ${timeOfDay(top.begins_at)}` : 'nothing came in';
  most.replaceChildren(make('span', '', peak), make('span', '', `${count(sum)} in all`));
  const begins = [stretches[0], stretches[Math.floor(stretches.length / 2)]];
  axis.replaceChildren(...begins.map((stretch) => make('span', '', timeOfDay(stretch?.begins_at ?? ''))));
  axis.append(make('span', '', 'now'));
}

/** @param {number} sum @param {Stretch} top @param {string} unit */
function described(sum, top, unit) {
  if (!sum) return 'No events';
  return `${count(sum)} events; the most in one ${unit}, ${count(top.events)}, at ${timeOfDay(top.begins_at)}`;
}

/** @param {number} number */
function bar(number) {
  const made = document.createElementNS(SVG, 'rect');
  made.setAttribute('x', String(number * BAR_WIDTH + BAR_GAP / 2));
  made.setAttribute('width', String(BAR_WIDTH - BAR_GAP));
  made.append(document.createElementNS(SVG, 'title'));
  return made;
}

/** @param {Element} made @param {Stretch} stretch @param {number} top @param {boolean} isUnfinished */
function set(made, stretch, top, isUnfinished) {
  const height = top ? (stretch.events / top) * HEIGHT : 0;
  const shown = stretch.events ? Math.max(height, 1) : 0; // little is not nothing
  made.setAttribute('y', String(HEIGHT - shown));
  made.setAttribute('height', String(shown));
  made.setAttribute('class', isUnfinished ? 'unfinished' : '');
  const others = `${count(stretch.duplicates)} duplicates, ${count(stretch.rejected)} rejected, ${count(stretch.withheld)} withheld`;
  const title = made.firstElementChild;
  if (title) title.textContent = `${timeOfDay(stretch.begins_at)}: ${count(stretch.events)} events; ${others}`;
}
