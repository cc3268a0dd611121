/**
 * The page: what its tag asks for, and a way to watch it that never throws into it.
 */
export const PRIVATE = '[data-private]';
export const host = /** @type {any} */ (window);
export const script = /** @type {HTMLScriptElement} */ (document.currentScript);
export const navigation = host.performance.getEntriesByType('navigation')[0];
export const root = document.documentElement;
export const options = script?.dataset ?? {};

/** The words of one of the tag's attributes. @param {string} name */
export const listed = (name) => /** @type {string[]} */ (options[name]?.match(/[^\s,]+/g) ?? []);

/** What the tag does not want: types of events, and `text`. */
export const off = listed('off');

/** @param {string} names @param {(event: any) => unknown} handler */
export function listen(names, handler) {
  for (const name of names.split(' ')) addEventListener(name, safely(handler), true);
}

/** Whether it was longer ago, or is that far ahead of a clock that was set back.
 * @param {unknown} time @param {number} wait
 */
export const isOver = (time, wait) => !(Math.abs(Date.now() - Number(time)) < wait);

/** The same for what happens to elements, none of which is private. @param {string} names
 * @param {(target: Element, event: any) => unknown} handler
 */
export function listenToElements(names, handler) {
  listen(names, (event) => {
    const { target } = event;
    if (target instanceof Element && !target.closest(PRIVATE)) handler(target, event);
  });
}

/** In whole percent; none of what nobody knows. @param {number} part @param {number} whole */
export const percentOf = (part, whole) => Math.floor((100 * part) / whole) || 0;

/** The page never sees an error of ours. @param {(...input: any[]) => any} step @returns {(...input: any[]) => any} */
export function safely(step) {
  return (...input) => {
    try {
      return step(...input);
    } catch {}
  };
}
