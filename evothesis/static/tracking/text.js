/**
 * Texts and addresses of the page in, what of them may leave it out.
 */
import { off, PRIVATE } from './page.js';

export const FIELD = 'input,select,textarea';
export const CONTROL = `a,button,summary,label,${FIELD},[role=button]`;
export const HIDDEN = `${PRIVATE},${FIELD},[contenteditable]`;
const UNREADABLE = `${HIDDEN},script,style`;
const EMAIL = /[^\s@/?&=:;,<>()"']{1,64}(?:@|%40)[^\s@/?&=<>]+\.[a-z]{2,}/gi;
const CARD = /\b\d(?:[ -]?\d){12,18}\b/g;
// parameters whose name says it, and signed tokens wherever they stand
const TOKEN = /([?&#;][\w.-]*(?:token|secret|passw\w*|pwd|signature|api_?key|auth|session_?id|jwt)=)[^&#]+/gi;
const SIGNED = /\beyJ[\w-]+\.[\w-]+\.[\w-]*/g;

/** @param {string} [url] */
export const redactUrl = (url = '') =>
  url.slice(0, 2_000).replace(EMAIL, '[email]').replace(TOKEN, '$1[token]').replace(SIGNED, '[token]');

/** @param {string} text */
export const redact = (text) =>
  // cut last: half an e-mail address would not be found
  redactUrl(text.replace(/\s+/g, ' ').trim()).replace(CARD, '[card]').slice(0, 100);

/** What somebody read or clicked on, unless the tag says that texts stay where they are. @param {string} text */
export const quote = (text) => (off.includes('text') ? '' : redact(text));

/** @param {Node} node @returns {string} */
export function textOf(node) {
  if (node instanceof Text) return node.data.slice(0, 2_000);
  if (!(node instanceof Element) || node.matches(UNREADABLE)) return '';
  return [...node.childNodes].map(textOf).join('');
}

/** @param {Element | null} element @returns {string} */
export function selectorOf(element, steps = 6) {
  const id = element?.getAttribute('id');
  if (!element || !steps || id) return id ? `#${CSS.escape(id)}` : '';
  const twins = [...(element.parentElement?.children ?? [])].filter((twin) => twin.localName === element.localName);
  const place = twins[1] ? `:nth-of-type(${twins.indexOf(element) + 1})` : '';
  const parent = selectorOf(element.parentElement, steps - 1);
  return (parent ? `${parent} > ` : '') + element.localName + place; // a minifier takes spaces from nested templates
}

/** What its author calls an element. @param {Element | null} element */
export const nameOf = (element) => redact(element?.getAttribute('name') || element?.getAttribute('id') || '');
