/**
 * Forms: how far visitors come in them, and how long it takes; what they write only where the tag allows it.
 */
import { listed, listenToElements } from './page.js';
import { FIELD, nameOf, redact } from './text.js';
import { atEnd, record } from './view.js';

const SECRET = '[type=password],[autocomplete*=cc-]';
const readableFields = listed('values');
/** @typedef {{since: number, field: string, changed: Set<string>}} Progress */
const begun = /** @type {Map<Element | null, Progress>} */ (new Map());

export function watchForms() {
  listenToElements('focus change', (target, { type }) => {
    if (!target.matches(FIELD) || target.matches(SECRET)) return;
    const field = /** @type {HTMLInputElement} */ (target);
    const progress = begun.get(field.form) ?? { since: Date.now(), field: '', changed: new Set() };
    const isChange = type === 'change';
    const isReadable = isChange && readableFields.includes(field.name);
    progress.field = nameOf(field);
    if (isChange) progress.changed.add(progress.field);
    begun.set(field.form, progress);
    tell(type, field.form, { fieldType: field.type, value: isReadable ? redact(field.value) : undefined });
  });
  listenToElements('submit', (form) => {
    tell('submit', form);
    begun.delete(form);
  });
  atEnd((cause) => {
    if (cause === 'hidden') return; // a visitor may come back
    for (const [form, { changed }] of begun) if (changed.size) tell('abandon', form);
    begun.clear();
  });
}

/** @param {string} action @param {Element | null} form @param {object} [more] */
function tell(action, form, more) {
  const now = Date.now();
  const progress = begun.get(form);
  record('form', {
    action,
    form: nameOf(form),
    field: progress?.field,
    changes: progress?.changed.size ?? 0,
    milliseconds: now - (progress?.since ?? now),
    ...more,
  });
}
