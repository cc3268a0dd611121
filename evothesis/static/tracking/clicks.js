/**
 * Clicks: what was clicked and where, where it led, and whether it did anything.
 */
import { handOver } from './domains.js';
import { isOver, listed, listen, listenToElements, percentOf, root, safely } from './page.js';
import { CONTROL, FIELD, HIDDEN, quote, redact, redactUrl, selectorOf, textOf } from './text.js';
import { record } from './view.js';

const FILE = /\.(pdf|zip|gz|7z|rar|dmg|exe|msi|apk|csv|txt|xlsx?|docx?|pptx?|epub|mp[34])$/i;
const RAGE_CLICKS = 3;
const RAGE_MS = 1_000;
const EFFECT_WAIT_MS = 1_500;
const attributeNames = listed('attributes');
let last = /** @type {Element | null} */ (null); // what was clicked, when, and how often in a row
let lastAt = 0;
let clicks = 0;
let effects = 0;
let effectTimer = 0;
const affect = () => {
  effects += 1;
};
const mutations = new MutationObserver(affect);

export function watchClicks() {
  listenToElements('click auxclick', (target, { button, pageX, pageY, clientX, clientY }) => {
    if (button > 1) return; // the right one opens a menu of the browser's
    const element = target.closest(CONTROL) ?? target;
    const isControl = element.matches(CONTROL);
    const link = /** @type {HTMLAnchorElement | null} */ (element.closest('a[href]'));
    // outside of controls only a leaf: the text of a whole section says nothing about a click
    const speaks = (isControl || !element.firstElementChild) && !element.closest(HIDDEN);
    const text = speaks ? quote(textOf(element)) : '';
    const what = { selector: selectorOf(element), text };
    const href = link ? redactUrl(link.href) : '';
    record('click', {
      tag: element.localName,
      id: element.getAttribute('id') ?? '',
      classes: [...element.classList],
      ...what,
      href,
      attributes: attributeNames[0] && attributesOf(element),
      page: placeIn(pageX, root.scrollWidth, pageY, root.scrollHeight),
      viewport: placeIn(clientX, innerWidth, clientY, innerHeight),
    });
    if (link) {
      if (link.hasAttribute('download') || FILE.test(link.pathname)) record('download', { href, text });
      else if (link.hostname && link.hostname !== location.hostname) {
        record('outbound', { href, text });
        handOver(link);
      }
    }
    clicks = last === element && !isOver(lastAt, RAGE_MS) ? clicks + 1 : 1;
    last = element;
    lastAt = Date.now();
    // three clicks on a text select its paragraph
    if (clicks === RAGE_CLICKS && getSelection()?.isCollapsed) record('rage_click', what);
    const isPlace = !link || link.href.split('#')[0] === location.href.split('#')[0];
    const promises = isControl || getComputedStyle(element).cursor === 'pointer';
    if (promises && isPlace && !element.matches(`label,${FIELD}`)) expectEffect(what);
    trackDeclared(target, false);
  });
  listenToElements('submit', (target) => trackDeclared(target, true));
  listen('scroll submit invalid popstate visibilitychange pagehide', affect);
}

/** @param {number} x @param {number} width @param {number} y @param {number} height */
const placeIn = (x, width, y, height) => ({
  x: Math.round(x),
  y: Math.round(y),
  xPercent: percentOf(x, width),
  yPercent: percentOf(y, height),
});

/** After a click on what looks as if it did something, something changes. @param {object} what */
function expectEffect(what) {
  const before = effects;
  clearTimeout(effectTimer);
  mutations.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
  const look = () => {
    mutations.disconnect();
    if (effects === before) record('dead_click', what);
  };
  effectTimer = setTimeout(safely(look), EFFECT_WAIT_MS);
}

/** Those that the tag allows, of the element or around it. @param {Element} element */
function attributesOf(element) {
  const found = /** @type {Record<string, string>} */ ({});
  for (const name of attributeNames) {
    const value = element.closest(`[${name}]`)?.getAttribute(name);
    if (value) found[name] = redact(value);
  }
  return found;
}

/** `data-track="name" data-track-colour="red"`: an event without a line of script.
 * @param {Element} target @param {boolean} isSubmit
 */
function trackDeclared(target, isSubmit) {
  const element = target.closest('[data-track]');
  if (!element || element.matches('form') !== isSubmit) return;
  const properties = /** @type {Record<string, string>} */ ({});
  for (const { name, value } of element.attributes) {
    if (name.startsWith('data-track-')) properties[name.slice(11)] = value;
  }
  record('custom', { name: element.getAttribute('data-track'), properties });
}
