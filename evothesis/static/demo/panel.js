/**
 * The panel beside the demo shop: what the server has stored, newest on top.
 *
 * Everything it shows was sent by a browser, so it only ever becomes text, never markup.
 * The panel is `data-private`: the tracker does not see what is clicked in it.
 */
(() => {
  const ROWS_MAX = 50;
  const POLL_MS = 1_000;

  /**
   * @typedef {{event_id: string, event_type: string, session_id: string, visitor_id: string, site_id: string, url: string, path: string,
   *   timestamp: string, created_at: string, raw_event_data: any}} StoredEvent
   */

  const shown = /** @type {Set<string>} */ (new Set());
  const list = make('ol', '');
  const state = make('p', 'state');
  const count = make('span', '');
  const panel = build();

  function build() {
    const toggle = make('button', '', 'Show');
    toggle.addEventListener('click', () => {
      toggle.textContent = panel.classList.toggle('folded') ? 'Show' : 'Hide';
    });
    const header = make('header', '');
    header.append(make('h2', '', 'What the server stored'), count, toggle);
    const body = make('div', 'body');
    body.append(explanation(), state, list);
    const aside = make('aside', 'panel folded');
    aside.dataset.private = '';
    aside.append(header, body);
    document.body.append(aside);
    return aside;
  }

  function explanation() {
    const details = document.createElement('details');
    const tag = document.querySelector('script[src*="tracking"]')?.outerHTML.replace('=""', '') ?? '';
    details.append(
      make('summary', '', 'What is this?'),
      make('p', '', 'Everything that you do on these pages becomes an event. This tag is all it takes:'),
      make('pre', '', tag),
      make('p', '', 'The collector has an event on disk before it answers; a second later it is a row in PostgreSQL.'),
      make('p', '', 'Two commands deliver every row to your bucket as Parquet, exactly once, and say what it costs:'),
      make('pre', '', 'evothesis export\nevothesis usage'),
      make(
        'p',
        '',
        'Try: search for a bowl. Mark a sentence. Play the kiln. Change the glaze. Leave an order half done.',
      ),
    );
    details.open = matchMedia('(width >= 70rem)').matches && location.pathname === '/';
    return details;
  }

  /** @param {StoredEvent} event @param {string} className */
  function row(event, className) {
    const item = make('li', className);
    const button = make('button', '');
    button.setAttribute('aria-expanded', 'false');
    button.append(
      make('span', 'type', event.event_type),
      make('span', 'what', summary(event.event_type, event.raw_event_data?.data ?? {})),
      make('span', 'when', new Date(event.timestamp).toLocaleTimeString()),
      make(
        'span',
        'where',
        `session ${String(event.session_id ?? '').slice(-6)} · ${event.site_id}${event.path ?? ''}`,
      ),
    );
    button.addEventListener('click', () => {
      const open = item.querySelector('pre');
      if (open) open.remove();
      else item.append(make('pre', '', JSON.stringify(event, null, 2)));
      button.setAttribute('aria-expanded', String(!open));
    });
    item.append(button);
    return item;
  }

  /** @param {string} type @param {any} data */
  function summary(type, data) {
    if (type === 'pageview') return String(data.title ?? '');
    if (type === 'click') return `${data.tag} ${data.text ? `“${data.text}”` : ''}`;
    if (type === 'scroll') return `${data.milestonePercent} % of the page`;
    if (type === 'visibility') return String(data.state);
    if (type === 'custom') return String(data.name);
    if (type === 'form') return `${data.action} ${data.field ?? data.form}`;
    if (type === 'media') return `${data.action} ${data.name}, ${data.percent} %`;
    if (type === 'engagement') return `${Math.round(data.milliseconds / 1_000)} s, ${data.depthPercent} % of the page`;
    if (type === 'vitals') return `largest paint after ${data.lcp} ms`;
    return String(data.text ?? data.term ?? data.message ?? '');
  }

  async function poll() {
    try {
      const answer = await fetch('/recent', { cache: 'no-store' });
      if (!answer.ok) throw new Error(`answer ${answer.status}`);
      show((await answer.json()).events);
    } catch {
      state.textContent = 'Nothing can be shown at the moment. What you do is kept until it can.';
    }
    setTimeout(poll, POLL_MS);
  }

  /** @param {StoredEvent[]} events newest first */
  function show(events) {
    const fresh = events.filter((event) => !shown.has(event.event_id));
    for (const event of fresh) shown.add(event.event_id);
    const first = shown.size === fresh.length;
    list.prepend(...fresh.map((event) => row(event, first ? '' : 'fresh')));
    while (list.children.length > ROWS_MAX) list.lastElementChild?.remove();
    if (fresh[0]) count.textContent = `${shown.size} · ${fresh[0].event_type}`;
    const who = [
      counted(events, 'visitor_id', 'visitor'),
      counted(events, 'session_id', 'session'),
      counted(events, 'site_id', 'site'),
    ];
    state.textContent = shown.size
      ? `${who.join(', ')}. Each line is a row in PostgreSQL: click one to see all of it.`
      : 'Nothing yet. Click a cup, scroll down, or switch to another tab and back.';
  }

  /** @param {StoredEvent[]} events @param {'visitor_id' | 'session_id' | 'site_id'} column @param {string} noun */
  function counted(events, column, noun) {
    const count = new Set(events.map((event) => event[column])).size;
    return `${count} ${noun}${count === 1 ? '' : 's'}`;
  }

  /** @param {string} tag @param {string} className @param {string} [text] */
  function make(tag, className, text = '') {
    const element = document.createElement(tag);
    element.className = className;
    element.textContent = text;
    return element;
  }

  poll();
})();
