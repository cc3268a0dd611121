/**
 * Evothesis tracker: what a visitor does in, batches of events to the collector out.
 *
 * A batch stays on the device until the collector has answered for it; every retry sends the same bytes.
 * Nothing here throws into the page, waits for the network, or reads what a visitor typed.
 *
 * The collector serves this file and all that it imports as one (collector/script.py).
 */
import { watchClicks } from './tracking/clicks.js';
import { forgetDevice, optedOut } from './tracking/device.js';
import { takeOver } from './tracking/domains.js';
import { watchForms } from './tracking/forms.js';
import { watchMedia } from './tracking/media.js';
import { host, listen, navigation, options, safely, script } from './tracking/page.js';
import { watchErrors, watchVitals } from './tracking/quality.js';
import { decide, deliver } from './tracking/queue.js';
import { watchReading, watchVisibility } from './tracking/reading.js';
import { enter, record, watchRoutes } from './tracking/view.js';

const CONSENT = options.consent || 'granted'; // until the page says something else

/** What a page may say: `evothesis('event', …)`. */
const commands = /** @type {Record<string, (...input: any[]) => void>} */ ({
  event: (name, properties) => record('custom', { name, properties }),
  identify: (userId, traits) => record('identify', { userId, traits }),
  consent: (state) => decide(optedOut() ? 'denied' : state),
  optOut: (state = true) => {
    decide('denied'); // whether or not there is a place to remember it
    if (!optedOut(state)) decide(CONSENT);
  },
});

const STEPS = [
  takeOver,
  watchRoutes,
  watchClicks,
  watchForms,
  watchMedia,
  watchErrors,
  watchVitals,
  watchReading,
  watchVisibility,
];

function start() {
  if (!script || host.evothesis?.loaded) return;
  if (host.document.prerendering) return listen('prerenderingchange', start); // nobody sees this page yet
  const calls = /** @type {any[][]} */ ([...(host.evothesis?.q ?? [])]);
  host.evothesis = safely((command, ...input) => commands[command]?.(...input));
  host.evothesis.loaded = true;
  if (host.navigator.globalPrivacyControl || navigator.doNotTrack === '1') {
    host.evothesis = () => {};
    return forgetDevice(); // what is from before the visitor refused
  }
  // what the visitor has decided comes before whatever happened
  const decisions = calls.filter(([command]) => command === 'consent' || command === 'optOut');
  for (const call of decisions[0] ? decisions : [['consent', CONSENT]]) host.evothesis(...call);
  for (const step of STEPS) safely(step)();
  listen('online', deliver);
  listen('DOMContentLoaded', () => enter()); // until then scripts of the page may set its title
  if (navigation?.domContentLoadedEventStart !== 0) enter();
  for (const call of calls) if (!decisions.includes(call)) host.evothesis(...call);
}

safely(start)();
