/**
 * Reading: how far, for how long, what was selected; when the page is looked at and when not.
 */
import { listen, percentOf, root, safely } from './page.js';
import { active, seal } from './queue.js';
import { HIDDEN, quote } from './text.js';
import { atEnd, end, record } from './view.js';

const SELECTION_WAIT_MS = 1_000; // it changes with every letter while it is drawn
let milestone = 0;
let deepest = /** @type {{depthPixels: number, depthPercent: number} | undefined} */ (undefined);
let visibility = /** @type {string} */ (document.visibilityState);
let attentive = 0; // since when, and for how many milliseconds before that
let attended = 0;
let selected = '';
let selectTimer = 0;

export function watchReading() {
  attend();
  listen('scroll', () => {
    const { depthPixels, depthPercent } = measure();
    while (depthPercent >= milestone + 25) {
      milestone += 25;
      record('scroll', { milestonePercent: milestone, depthPercent, depthPixels });
    }
  });
  listen('selectionchange', () => {
    clearTimeout(selectTimer);
    selectTimer = setTimeout(safely(select), SELECTION_WAIT_MS);
  });
  listen('copy cut', () => select(true));
  atEnd((cause) => {
    attend();
    if (cause === 'gone') attentive = 0; // until it comes back
    const milliseconds = Math.round(attended);
    if (milliseconds) record('engagement', { milliseconds, ...(deepest ?? measure()) });
    attended = 0;
    if (cause === 'hidden') return;
    milestone = 0;
    deepest = undefined;
  });
  listen('pointermove pointerdown keydown scroll', active);
}

/** The last to be told that a page goes: what it sends holds what the others have said. */
export function watchVisibility() {
  listen('focus blur visibilitychange pagehide', ({ type, target }) => {
    if (target instanceof Element) return; // focus moved within the page
    const isGone = type === 'pagehide';
    const state = isGone ? 'hidden' : type === 'visibilitychange' ? document.visibilityState : type;
    const isHidden = state === 'hidden';
    attend();
    if (isHidden) end(isGone ? 'gone' : state);
    if (state !== visibility) record('visibility', { state });
    visibility = state;
    if (isHidden) seal(true);
  });
}

/** How far the view is seen. It remembers the most. */
function measure() {
  const depthPixels = Math.round(scrollY + innerHeight);
  // a zoomed page ends a fraction of a pixel before its end
  const depthPercent = Math.min(100, percentOf(depthPixels + 2, root.scrollHeight));
  const depth = { depthPixels, depthPercent };
  if (!deepest || depthPixels > deepest.depthPixels) deepest = depth;
  return depth;
}

/** Time counts while the page is visible and has the focus. */
function attend() {
  const now = performance.now();
  if (attentive) attended += now - attentive;
  attentive = document.visibilityState === 'visible' && document.hasFocus() ? now : 0;
}

/** @param {boolean} [isCopy] */
function select(isCopy) {
  const selection = /** @type {Selection} */ (getSelection());
  const text = String(selection);
  if (!text.trim() || (!isCopy && text === selected)) return;
  const around = selection.getRangeAt(0).commonAncestorContainer;
  const element = around instanceof Element ? around : around.parentElement;
  // a browser may tell what is selected within a field, too
  if (!element || [element, document.activeElement].some((place) => place?.closest(HIDDEN))) return;
  const hides = [...element.querySelectorAll(HIDDEN)].some((inner) => selection.containsNode(inner, true));
  const data = { length: text.length, text: hides ? '' : quote(text) };
  if (isCopy) return record('copy', data);
  selected = text;
  record('selection', data);
}
