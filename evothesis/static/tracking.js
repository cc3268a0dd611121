/**
 * Evothesis tracker: what a visitor does in, batches of events to the collector out.
 *
 *   <script async src="https://HOST/tracking.js"></script>
 *
 * A batch stays on the device until the collector has answered for it; every retry sends the same bytes.
 * Nothing here throws into the page, waits for the network, or reads what a visitor typed.
 */
(() => {
  const COLLECT_PATH = '/collect';

  const BATCH_EVENTS_MAX = 10;
  const BATCH_BYTES_MAX = 60_000; // browsers let 64 KiB outlive a page
  const EVENT_BYTES_MAX = 30_000; // the collector refuses more than 32 KiB
  const PAGEVIEW_WAIT_MS = 1_000;
  const ACTIVE_WAIT_MS = 5_000;
  const IDLE_WAIT_MS = 60_000;
  const SESSION_IDLE_MS = 1_800_000;

  const QUEUE_EVENTS_MAX = 200;
  const QUEUE_LENGTH_MAX = 262_144; // the storage is the site's: take little of it
  const QUEUE_AGE_MS_MAX = 66 * 3_600_000; // the server recognises a repeated event for 72 hours
  const OWNER_WAIT_MS = 10_000; // until then only the tab that made a batch sends it
  const ANSWER_WAIT_MS = 30_000;
  const BACKOFF_MS_MAX = 300_000;
  const PAUSE_MS_MAX = 3_600_000;

  const PRIVATE = '[data-private]';
  const UNREADABLE = `${PRIVATE},input,select,textarea,[contenteditable],script,style`;
  const CONTROL = 'a,button,summary,label,input,select,textarea,[role=button]';
  const EMAIL = /[^\s@/?&=:;,<>()"']{1,64}(?:@|%40)[^\s@/?&=<>]+\.[a-z]{2,}/gi;
  const CARD = /\b\d(?:[ -]?\d){12,18}\b/g;

  const host = /** @type {any} */ (window);
  const script = /** @type {HTMLScriptElement} */ (document.currentScript);

  let page = ''; // URL of the present page view
  let path = '';
  let milestone = 0; // its scroll depth so far, in percent
  let visibility = String(document.visibilityState);

  let events = /** @type {string[]} */ ([]); // not yet in a batch
  let eventsBytes = 0;
  let eventsSession = '';
  let eventsSince = 0;
  let sealAt = Infinity;
  let sealTimer = 0;

  const memory = /** @type {Map<string, string>} */ (new Map()); // where storage is blocked or full
  const unsent = /** @type {Set<string>} */ (new Set()); // batches that are for this tab to send
  let delivering = false;
  let failures = 0;
  let retryAt = 0;
  let retryTimer = 0;
  let seenAt = 0;

  function start() {
    if (!script || host.evothesis?.loaded) return;
    if (host.document.prerendering) return listen('prerenderingchange', start); // nobody sees this page yet
    const calls = host.evothesis?.q ?? [];
    host.evothesis = safely(command);
    host.evothesis.loaded = true;
    if (host.navigator.globalPrivacyControl === true || navigator.doNotTrack === '1') {
      host.evothesis = () => {};
      return keys('').forEach(remove); // stored before the visitor refused
    }
    watchRoutes();
    listen('click', click);
    listen('scroll', scroll);
    listen('pointermove pointerdown keydown scroll', active);
    listen('focus blur visibilitychange pagehide', see);
    listen('pageshow', (event) => event.persisted && view('restore'));
    listen('online', () => {
      retryAt = 0;
      deliver();
    });
    // scripts of the page may still set its title
    if (document.readyState === 'loading') listen('DOMContentLoaded', () => view('load'));
    else view('load');
    for (const call of calls) host.evothesis(...call);
    deliver();
  }

  // What is seen

  /** @param {string} cause */
  function view(cause) {
    // a fragment is a place in the page, unless it is written like a route
    const url = redactUrl(location.href.replace(/#(?![!/]).*/, ''));
    const arrived = !page || cause === 'restore';
    if (url === page && !arrived) return;
    const [entry] = /** @type {PerformanceNavigationTiming[]} */ (performance.getEntriesByType('navigation'));
    const data = {
      title: redact(document.title),
      referrer: arrived ? redactUrl(document.referrer) : page,
      screen: { width: screen.width, height: screen.height },
      viewport: { width: innerWidth, height: innerHeight },
      language: navigator.language,
      timeZone: Intl.DateTimeFormat().resolvedOptions().timeZone,
      navigationType: page ? cause : entry?.type,
      dropped: Number(read('dropped')) || undefined,
    };
    remove('dropped');
    page = url;
    path = redactUrl(location.pathname);
    milestone = 0;
    record('pageview', data);
  }

  function watchRoutes() {
    for (const name of /** @type {const} */ (['pushState', 'replaceState'])) {
      const change = history[name];
      history[name] = (...state) => {
        change.apply(history, state);
        setTimeout(safely(view), 0, name); // a page changes its title after its address
      };
    }
    listen('popstate', () => setTimeout(safely(view), 0, 'popstate'));
  }

  /** @param {MouseEvent} event */
  function click({ target, pageX, pageY, clientX, clientY }) {
    if (!(target instanceof Element) || target.closest(PRIVATE)) return;
    const control = target.closest(CONTROL);
    const element = control ?? target;
    const link = element.closest('a');
    // outside of controls only a leaf: the text of a whole section says nothing about a click
    const speaks = (control || !element.firstElementChild) && !element.closest(UNREADABLE);
    record('click', {
      tag: element.localName,
      id: element.getAttribute('id') ?? '',
      classes: [...element.classList],
      text: speaks ? redact(textOf(element)) : '',
      href: link instanceof HTMLAnchorElement ? redactUrl(link.href) : '',
      selector: selectorOf(element),
      page: { x: Math.round(pageX), y: Math.round(pageY) },
      viewport: { x: Math.round(clientX), y: Math.round(clientY) },
    });
  }

  function scroll() {
    const depthPixels = Math.round(scrollY + innerHeight);
    // a zoomed page ends a fraction of a pixel before its end
    const depthPercent = Math.min(100, Math.floor((100 * (depthPixels + 2)) / document.documentElement.scrollHeight));
    while (depthPercent >= milestone + 25) {
      milestone += 25;
      record('scroll', { milestonePercent: milestone, depthPercent, depthPixels });
    }
  }

  /** @param {Event} event */
  function see({ type, target }) {
    if (target instanceof Element) return; // focus moved within the page
    const state = { pagehide: 'hidden', visibilitychange: document.visibilityState }[type] ?? type;
    if (state !== visibility) record('visibility', { state });
    visibility = state;
    if (state === 'hidden') seal(true);
  }

  /** @param {unknown} name @param {unknown} subject @param {unknown} properties */
  function command(name, subject, properties) {
    if (name === 'event') record('custom', { name: String(subject), properties });
  }

  // Events become batches

  /** @param {string} eventType @param {object} data */
  function record(eventType, data) {
    if (!page) view('load'); // whatever comes first, it happened on a page
    const session = sessionId();
    const timestamp = new Date().toISOString();
    const event = JSON.stringify({ eventType, eventId: uuid(), timestamp, url: page, path, data });
    const bytes = new Blob([event]).size;
    if (bytes > EVENT_BYTES_MAX) return countDropped(1);
    if (session !== eventsSession || eventsBytes + bytes > BATCH_BYTES_MAX) seal();
    if (!events[0]) eventsSince = Date.now();
    eventsSession = session;
    eventsBytes += bytes;
    if (events.push(event) >= BATCH_EVENTS_MAX) return seal();
    sealIn(eventType === 'pageview' ? PAGEVIEW_WAIT_MS : IDLE_WAIT_MS);
    if (events[1]) active();
  }

  /** A visitor who is there leaves: events cannot wait for silence. */
  function active() {
    if (Date.now() > seenAt + IDLE_WAIT_MS) sessionId();
    // late events wait a moment more: a movement and the click that follows belong together
    if (events[0]) sealIn(Math.max(PAGEVIEW_WAIT_MS, eventsSince + ACTIVE_WAIT_MS - Date.now()));
  }

  /** @param {number} wait in ms; never longer than was promised before */
  function sealIn(wait) {
    if (Date.now() + wait >= sealAt) return;
    clearTimeout(sealTimer);
    sealAt = Date.now() + wait;
    sealTimer = setTimeout(safely(seal), wait);
  }

  /** @param {boolean} [leaving] */
  function seal(leaving) {
    clearTimeout(sealTimer);
    sealAt = Infinity;
    if (events[0]) {
      const batchId = uuid();
      const sentAt = new Date().toISOString();
      const visitorId = read('visitor') || uuid();
      write('visitor', visitorId);
      const siteId = script.dataset.site || location.hostname;
      const head = { eventType: 'batch', batchId, sentAt, sessionId: eventsSession, visitorId, siteId };
      const key = `batch.${batchId}.${events.length}`;
      write(key, `${JSON.stringify(head).slice(0, -1)},"events":[${events}]}`);
      unsent.add(key);
      events = [];
      eventsBytes = 0;
    }
    if (!leaving) deliver();
    // there is no time for a lock, and these are this tab's own
    else if (timeLeft('pause', PAUSE_MS_MAX) <= 0) for (const key of [...unsent]) send(key, true);
  }

  // Batches are delivered

  /** Those that wait, oldest first: a UUIDv7 sorts by its time. */
  function queued() {
    return keys('batch.').sort();
  }

  /** @param {string} key */
  function age(key) {
    return Math.abs(Date.now() - Number.parseInt(key.slice(6, 14) + key.slice(15, 19), 16));
  }

  function trim() {
    let events = 0;
    let length = 0;
    for (const key of queued().reverse()) {
      const count = Number(key.split('.')[2]);
      events += count;
      length += read(key).length;
      if (events <= QUEUE_EVENTS_MAX && length <= QUEUE_LENGTH_MAX && age(key) < QUEUE_AGE_MS_MAX) continue;
      countDropped(count);
      remove(key);
    }
  }

  /** @param {number} count */
  function countDropped(count) {
    write('dropped', String(Number(read('dropped')) + count));
  }

  /** @param {string} key of a stored time @param {number} max in ms: a clock set back must not silence a device */
  function timeLeft(key, max) {
    const left = Number(read(key)) - Date.now();
    return left < max ? left : 0;
  }

  function deliver() {
    trim();
    if (delivering || !queued()[0]) return;
    const wait = Math.max(retryAt - Date.now(), timeLeft('pause', PAUSE_MS_MAX));
    if (wait > 0) return deliverIn(wait);
    // one tab at a time; where there are no locks, by a lease that ends by itself
    if (!navigator.locks && timeLeft('lease', ANSWER_WAIT_MS + 1) > 0) return deliverIn(OWNER_WAIT_MS);
    delivering = true;
    if (navigator.locks) navigator.locks.request('evothesis', drain).catch(drain);
    else drain();
  }

  /** @param {number} wait in ms */
  function deliverIn(wait) {
    clearTimeout(retryTimer);
    retryTimer = setTimeout(safely(deliver), wait);
  }

  async function drain() {
    for (let more = true; more; ) {
      const next = queued().find((key) => unsent.has(key) || age(key) > OWNER_WAIT_MS);
      write('lease', String(Date.now() + ANSWER_WAIT_MS));
      more = Boolean(next && (await send(next)));
    }
    remove('lease');
    delivering = false;
    if (queued()[0]) deliverIn(Math.max(OWNER_WAIT_MS, retryAt - Date.now()));
  }

  /** @param {string} key @param {boolean} [leaving] @returns {Promise<boolean>} whether to go on */
  async function send(key, leaving) {
    const url = new URL(COLLECT_PATH, script.src);
    const body = read(key);
    let pause = 0;
    unsent.delete(key);
    if (!body) return true; // another tab was faster
    try {
      if (leaving && !('keepalive' in Request.prototype)) return navigator.sendBeacon(url, body);
      const signal = AbortSignal.timeout?.(ANSWER_WAIT_MS);
      // a string goes as text/plain, which needs no preflight
      const answer = await fetch(url, { method: 'POST', body, keepalive: true, credentials: 'omit', signal });
      const { ok, status, headers } = answer;
      if (ok || (status > 399 && status < 500 && status !== 408 && status !== 429)) {
        failures = 0;
        remove(key);
        return true;
      }
      const after = headers.get('Retry-After') ?? '';
      pause = Number(after) * 1_000 || Date.parse(after) - Date.now() || 0;
      if (pause) write('pause', String(Date.now() + pause));
    } catch {
      // offline, or blocked
    }
    failures += 1;
    const backoff = Math.min(BACKOFF_MS_MAX, 1_000 * 2 ** failures) * (0.5 + Math.random() / 2);
    retryAt = Date.now() + Math.max(pause, backoff);
    unsent.add(key);
    deliverIn(retryAt - Date.now());
    return false;
  }

  // Identity and storage

  /** One session for all tabs, until nobody was there for half an hour. */
  function sessionId() {
    const [id, at] = read('session').split(' ');
    seenAt = Date.now();
    const session = id && Math.abs(seenAt - Number(at)) < SESSION_IDLE_MS ? id : uuid();
    write('session', `${session} ${seenAt}`);
    return session;
  }

  /** UUIDv7: RFC 9562, section 5.7. */
  function uuid() {
    let hex = Date.now().toString(16).padStart(12, '0');
    for (const byte of crypto.getRandomValues(new Uint8Array(10))) hex += (byte + 256).toString(16).slice(1);
    return hex.replace(/(.{8})(.{4}).(.{3}).(.{3})/, '$1-$2-7$3-8$4-');
  }

  /** @param {string} key */
  function read(key) {
    return memory.get(key) ?? attempt(() => localStorage.getItem(`evothesis.${key}`)) ?? '';
  }

  /** @param {string} key @param {string} value */
  function write(key, value) {
    memory.set(key, value);
    attempt(() => {
      localStorage.setItem(`evothesis.${key}`, value);
      memory.delete(key);
    });
  }

  /** @param {string} key */
  function remove(key) {
    memory.delete(key);
    attempt(() => localStorage.removeItem(`evothesis.${key}`));
  }

  /** @param {string} prefix */
  function keys(prefix) {
    const stored = attempt(() => Object.keys(localStorage)) ?? [];
    const ours = stored.filter((key) => key.startsWith('evothesis.')).map((key) => key.slice(10));
    return [...memory.keys(), ...ours].filter((key) => key.startsWith(prefix));
  }

  // What may be read

  /** @param {string} text */
  function redact(text) {
    // cut last: half an e-mail address would not be found
    return redactUrl(text).replace(/\s+/g, ' ').trim().replace(CARD, '[card]').slice(0, 100);
  }

  /** @param {string} url */
  function redactUrl(url) {
    return url.slice(0, 2_000).replace(EMAIL, '[email]');
  }

  /** @param {Node} node @returns {string} */
  function textOf(node) {
    if (node instanceof Text) return node.data;
    if (!(node instanceof Element) || node.matches(UNREADABLE)) return '';
    return [...node.childNodes].map(textOf).join('');
  }

  /** @param {Element | null} element @param {number} [steps] @returns {string} */
  function selectorOf(element, steps = 6) {
    if (!element || !steps) return '';
    const id = element.getAttribute('id');
    if (id) return `#${CSS.escape(id)}`;
    const twins = [...(element.parentElement?.children ?? [])].filter((twin) => twin.localName === element.localName);
    const place = twins[1] ? `:nth-of-type(${twins.indexOf(element) + 1})` : '';
    const parent = selectorOf(element.parentElement, steps - 1);
    return `${parent && `${parent} > `}${element.localName}${place}`;
  }

  // The page never sees an error of ours

  /** @param {string} names @param {(event: any) => unknown} handler */
  function listen(names, handler) {
    for (const name of names.split(' ')) addEventListener(name, safely(handler), { capture: true, passive: true });
  }

  /** @template {unknown[]} I @param {(...input: I) => unknown} step */
  function safely(step) {
    return (/** @type {I} */ ...input) => void attempt(() => step(...input));
  }

  /** @template T @param {() => T} step */
  function attempt(step) {
    try {
      return step();
    } catch {}
  }

  safely(start)();
})();
