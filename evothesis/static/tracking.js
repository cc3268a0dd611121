/**
 * Evothesis tracker: what a visitor does in, batches of events to the collector out.
 *
 * A batch stays on the device until the collector has answered for it; every retry sends the same bytes.
 * Nothing here throws into the page, waits for the network, or reads what a visitor typed.
 */
(() => {
  const COLLECT_PATH = '/collect';
  // browsers let 64 KiB outlive a page; the collector refuses an event of more than 32 KiB
  const BATCH_MAX = { events: 10, bytes: 60_000, eventBytes: 30_000 };
  // the storage is the site's: take little of it; the server recognises a repeated event for 72 hours
  const QUEUE_MAX = { events: 200, length: 262_144, ageMs: 66 * 3_600_000 };
  const WAIT_MS = { pageview: 1_000, active: 5_000, idle: 60_000, answer: 30_000, retryMax: 300_000 };
  const OWNER_WAIT_MS = 5_000; // until then only the tab that made a batch sends it
  const SESSION_IDLE_MS = 1_800_000;
  const PRIVATE = '[data-private]';
  const UNREADABLE = `${PRIVATE},input,select,textarea,[contenteditable],script,style`;
  const CONTROL = 'a,button,summary,label,input,select,textarea,[role=button]';
  const EMAIL = /[^\s@/?&=:;,<>()"']{1,64}(?:@|%40)[^\s@/?&=<>]+\.[a-z]{2,}/gi;
  const CARD = /\b\d(?:[ -]?\d){12,18}\b/g;
  const host = /** @type {any} */ (window);
  const script = /** @type {HTMLScriptElement} */ (document.currentScript);
  const navigation = host.performance.getEntriesByType('navigation')[0];
  let storage = /** @type {Record<string, string>} */ (safely(() => localStorage)() ?? {});
  const view = { url: '', path: '', milestonePercent: 0, visibility: String(document.visibilityState), activeAt: 0 };
  let events = /** @type {string[]} */ ([]); // not yet in a batch
  const open = { bytes: 0, session: '', since: 0, sealAt: Infinity, timer: 0 };
  const unsent = /** @type {Set<string>} */ (new Set()); // batches that are for this tab to send
  const retry = { failures: 0, pauseUntil: 0, at: 0, timer: 0 };

  function start() {
    if (!script || host.evothesis?.loaded) return;
    if (host.document.prerendering) return listen('prerenderingchange', start); // nobody sees this page yet
    const calls = host.evothesis?.q ?? [];
    const refused = host.navigator.globalPrivacyControl === true || navigator.doNotTrack === '1';
    host.evothesis = safely((kind, name, properties) => kind === 'event' && record('custom', { name, properties }));
    host.evothesis.loaded = true;
    if (refused) host.evothesis = () => {};
    if (refused) return stored('').forEach(forget); // from before the visitor refused
    watchRoutes();
    watchVisitor();
    listen('online', () => deliver(true));
    listen('DOMContentLoaded', enter); // until then scripts of the page may set its title
    if (navigation?.domContentLoadedEventStart !== 0) enter();
    for (const call of calls) host.evothesis(...call);
    deliver();
  }

  function enter(cause = '') {
    // a fragment is a place in the page, unless it is written like a route
    const url = redactUrl(location.href.replace(/#(?![!/]).*/, ''));
    const arrived = !view.url || cause === 'restore';
    if (url === view.url && !arrived) return;
    const data = {
      title: redact(document.title),
      referrer: arrived ? redactUrl(document.referrer) : view.url,
      screen: { width: screen.width, height: screen.height },
      viewport: { width: innerWidth, height: innerHeight },
      language: navigator.language,
      timeZone: Intl.DateTimeFormat().resolvedOptions().timeZone,
      navigationType: view.url ? cause : navigation?.type,
      dropped: Number(storage['evothesis.dropped']) || undefined,
    };
    forget('evothesis.dropped');
    Object.assign(view, { url, path: redactUrl(location.pathname), milestonePercent: 0 });
    record('pageview', data);
  }

  function watchRoutes() {
    const later = (cause = '') => setTimeout(safely(enter), 0, cause); // a page changes its title after its address
    for (const name of /** @type {const} */ (['pushState', 'replaceState'])) {
      const change = history[name];
      history[name] = (...state) => {
        change.apply(history, state);
        later(name);
      };
    }
    listen('popstate', () => later('popstate'));
    listen('pageshow', ({ persisted }) => persisted && enter('restore'));
  }

  function watchVisitor() {
    listen('click', ({ target, pageX, pageY, clientX, clientY }) => {
      if (!(target instanceof Element) || target.closest(PRIVATE)) return;
      const element = target.closest(CONTROL) ?? target;
      const link = element.closest('a');
      // outside of controls only a leaf: the text of a whole section says nothing about a click
      const speaks = (element.matches(CONTROL) || !element.firstElementChild) && !element.closest(UNREADABLE);
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
    });
    listen('scroll', () => {
      const depthPixels = Math.round(scrollY + innerHeight);
      // a zoomed page ends a fraction of a pixel before its end
      const depthPercent = Math.min(100, Math.floor((100 * (depthPixels + 2)) / document.documentElement.scrollHeight));
      while (depthPercent >= view.milestonePercent + 25) {
        view.milestonePercent += 25;
        record('scroll', { milestonePercent: view.milestonePercent, depthPercent, depthPixels });
      }
    });
    listen('focus blur visibilitychange pagehide', ({ type, target }) => {
      if (target instanceof Element) return; // focus moved within the page
      const state = type === 'pagehide' ? 'hidden' : type === 'visibilitychange' ? document.visibilityState : type;
      if (state !== view.visibility) record('visibility', { state });
      view.visibility = state;
      if (state === 'hidden') seal(true);
    });
    listen('pointermove pointerdown keydown scroll', active);
  }

  function record(eventType = '', data = {}) {
    if (!view.url) enter(); // whatever comes first, it happened on a page
    const session = sessionId();
    const { url, path } = view;
    const event = JSON.stringify({ eventType, eventId: uuid(), timestamp: new Date(), url, path, data });
    const bytes = new TextEncoder().encode(event).length;
    if (bytes > BATCH_MAX.eventBytes) return countDropped(1);
    if (session !== open.session || open.bytes + bytes > BATCH_MAX.bytes) seal();
    if (!events[0]) open.since = Date.now();
    open.session = session;
    open.bytes += bytes;
    if (events.push(event) >= BATCH_MAX.events) return seal();
    sealIn(eventType === 'pageview' ? WAIT_MS.pageview : WAIT_MS.idle);
    if (events[1]) active();
  }

  /** A visitor who is there leaves: events cannot wait for silence. */
  function active() {
    if (Date.now() > view.activeAt + WAIT_MS.idle) sessionId();
    // late events wait a moment more: a movement and the click that follows belong together
    if (events[0]) sealIn(Math.max(WAIT_MS.pageview, open.since + WAIT_MS.active - Date.now()));
  }

  function sealIn(wait = 0) {
    if (Date.now() + wait >= open.sealAt) return; // never later than was promised before
    clearTimeout(open.timer);
    open.sealAt = Date.now() + wait;
    open.timer = setTimeout(safely(seal), wait);
  }

  function seal(leaving = false) {
    clearTimeout(open.timer);
    open.sealAt = Infinity;
    if (events[0]) {
      const batchId = uuid();
      const visitorId = storage['evothesis.visitor'] || uuid();
      const siteId = script.dataset.site || location.hostname;
      const head = { eventType: 'batch', batchId, sentAt: new Date(), sessionId: open.session, visitorId, siteId };
      const key = `evothesis.batch.${batchId}.${events.length}`;
      keep('evothesis.visitor', visitorId);
      keep(key, `${JSON.stringify(head).slice(0, -1)},"events":[${events}]}`);
      unsent.add(key);
      events = [];
      open.bytes = 0;
    }
    if (!leaving) deliver();
    // there is no time for a lock, and these are this tab's own
    else if (Date.now() >= retry.pauseUntil) for (const key of [...unsent]) send(key, true);
  }

  /** Batches that wait, oldest first: a UUIDv7 sorts by its time. */
  const queued = () => stored('batch.').sort();
  /** How old a batch is in ms, or how far ahead of a clock that was set back. */
  const age = (key = '') => Math.abs(Date.now() - Number.parseInt(key.slice(16).replace('-', ''), 16));
  const countDropped = (count = 0) => keep('evothesis.dropped', `${count + Number(storage['evothesis.dropped'] ?? 0)}`);

  function trim() {
    const left = { ...QUEUE_MAX };
    for (const key of queued().reverse()) {
      const size = Number(key.split('.')[3]);
      left.events -= size;
      left.length -= storage[key]?.length ?? 0;
      if (left.events >= 0 && left.length >= 0 && age(key) < left.ageMs) continue;
      countDropped(size);
      forget(key);
    }
  }

  function deliver(online = false) {
    trim();
    if (online) retry.at = retry.pauseUntil;
    if (retry.at > Date.now() || !queued()[0]) return lookAgain();
    // one tab at a time; where there are no locks, by a lease that ends by itself
    if (navigator.locks) navigator.locks.request('evothesis', drain).catch(drain);
    else if (Math.abs(Date.now() - Number(storage['evothesis.lease'])) < WAIT_MS.answer) lookAgain();
    else drain();
  }

  /** When a retry is due, or when this tab may take over what another left. */
  function lookAgain() {
    clearTimeout(retry.timer);
    const wait = retry.at - Date.now();
    if (queued()[0]) retry.timer = setTimeout(safely(deliver), wait > 0 ? wait : OWNER_WAIT_MS);
  }

  async function drain() {
    const next = () => queued().find((key) => unsent.has(key) || age(key) > OWNER_WAIT_MS);
    keep('evothesis.lease', `${Date.now()}`);
    for (let key = next(); key && (await send(key)); ) key = next();
    forget('evothesis.lease');
    lookAgain();
  }

  /** Answers whether there is a point in sending more. */
  async function send(key = '', leaving = false) {
    const url = new URL(COLLECT_PATH, script.src);
    const body = storage[key];
    unsent.delete(key);
    if (!body) return true; // another tab was faster
    try {
      if (leaving && !('keepalive' in Request.prototype)) return navigator.sendBeacon(url, body);
      const signal = AbortSignal.timeout?.(WAIT_MS.answer);
      // a string goes as text/plain, which needs no preflight
      const answer = await fetch(url, { method: 'POST', body, keepalive: true, credentials: 'omit', signal });
      if (answer.status < 500 && answer.status !== 408 && answer.status !== 429) {
        retry.failures = 0;
        return forget(key);
      }
      const after = answer.headers.get('Retry-After') ?? '';
      retry.pauseUntil = Date.now() + (Number(after) * 1_000 || Date.parse(after) - Date.now() || 0);
    } catch {} // offline, or blocked
    retry.failures += 1;
    const backoff = Math.min(WAIT_MS.retryMax, 1_000 * 2 ** retry.failures) * (0.5 + Math.random() / 2);
    retry.at = Math.max(retry.pauseUntil, Date.now() + backoff);
    unsent.add(key);
    return lookAgain();
  }

  /** One session for all tabs, until nobody was there for half an hour. */
  function sessionId() {
    const [id, at] = (storage['evothesis.session'] ?? '').split(' ');
    view.activeAt = Date.now();
    const session = id && Math.abs(view.activeAt - Number(at)) < SESSION_IDLE_MS ? id : uuid();
    keep('evothesis.session', `${session} ${view.activeAt}`);
    return session;
  }

  /** UUIDv7: RFC 9562, section 5.7. */
  function uuid() {
    let hex = Date.now().toString(16).padStart(12, '0');
    for (const byte of crypto.getRandomValues(new Uint8Array(10))) hex += (byte + 256).toString(16).slice(1);
    return hex.replace(/(.{8})(.{4}).(.{3}).(.{3})/, '$1-$2-7$3-8$4-');
  }

  const stored = (prefix = '') => Object.keys(storage).filter((key) => key.startsWith(`evothesis.${prefix}`));
  const forget = (key = '') => delete storage[key];

  function keep(key = '', value = '') {
    try {
      storage[key] = value;
    } catch {
      storage = { ...storage, [key]: value }; // full, or forbidden: this page remembers by itself
    }
  }

  const redactUrl = (url = '') => url.slice(0, 2_000).replace(EMAIL, '[email]');
  // cut last: half an e-mail address would not be found
  const redact = (text = '') => redactUrl(text.replace(/\s+/g, ' ').trim()).replace(CARD, '[card]').slice(0, 100);

  /** @param {Node} node @returns {string} */
  function textOf(node) {
    if (node instanceof Text) return node.data.slice(0, 2_000);
    if (!(node instanceof Element) || node.matches(UNREADABLE)) return '';
    return [...node.childNodes].map(textOf).join('');
  }

  /** @param {Element | null} element @returns {string} */
  function selectorOf(element, steps = 6) {
    const id = element?.getAttribute('id');
    if (!element || !steps || id) return id ? `#${CSS.escape(id)}` : '';
    const twins = [...(element.parentElement?.children ?? [])].filter((twin) => twin.localName === element.localName);
    const place = twins[1] ? `:nth-of-type(${twins.indexOf(element) + 1})` : '';
    const parent = selectorOf(element.parentElement, steps - 1);
    return (parent ? `${parent} > ` : '') + element.localName + place; // a minifier takes spaces from nested templates
  }

  /** @param {string} names @param {(event: any) => unknown} handler */
  function listen(names, handler) {
    for (const name of names.split(' ')) addEventListener(name, safely(handler), { capture: true, passive: true });
  }

  /** The page never sees an error of ours. @param {(...input: any[]) => any} step @returns {(...input: any[]) => any} */
  function safely(step) {
    return (...input) => {
      try {
        return step(...input);
      } catch {}
    };
  }

  safely(start)();
})();
