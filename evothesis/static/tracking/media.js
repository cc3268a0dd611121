/**
 * Media: what was played, how far, and to the end or not.
 */
import { listenToElements, percentOf } from './page.js';
import { nameOf, redactUrl } from './text.js';
import { record } from './view.js';

const quarters = /** @type {WeakMap<HTMLMediaElement, number>} */ (new WeakMap());
const actions = /** @type {Record<string, string>} */ ({ timeupdate: 'progress', ended: 'complete' });

export function watchMedia() {
  listenToElements('play pause timeupdate ended', (element, { type }) => {
    const target = /** @type {HTMLMediaElement} */ (element);
    const { currentTime, duration, ended } = target;
    const percent = percentOf(currentTime, duration);
    const quarter = percent - (percent % 25);
    if (type === 'timeupdate') {
      if (quarter <= (quarters.get(target) ?? 0) || quarter > 75) return;
      quarters.set(target, quarter);
    } else if (ended) {
      quarters.delete(target);
      if (type === 'pause') return;
    }
    record('media', {
      action: actions[type] ?? type,
      tag: target.localName,
      name: nameOf(target),
      source: redactUrl(target.currentSrc),
      seconds: Math.round(currentTime),
      duration: Math.round(duration) || 0, // a live stream has none
      percent,
    });
  });
}
