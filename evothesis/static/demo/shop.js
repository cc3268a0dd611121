/**
 * The demo shop: glazes of a product change the address without a page load, and a basket lives in this browser.
 */
(() => {
  const EUROS = new Intl.NumberFormat('en', { style: 'currency', currency: 'EUR' });
  const GOODS = /** @type {Record<string, {name: string, price: number, text: string}>} */ ({
    cup: { name: 'Morning cup', price: 24, text: 'Holds a quarter of a litre, and the heat for half an hour.' },
    bowl: { name: 'Soup bowl', price: 32, text: 'Deep enough for a stew, shallow enough for the last spoon of it.' },
    jug: { name: 'Milk jug', price: 29, text: 'Pours without a drip. We threw nine before we were sure.' },
    vase: { name: 'Single vase', price: 45, text: 'For one branch. It stands even when the branch leans.' },
    plate: { name: 'Supper plate', price: 27, text: 'A rim that keeps the sauce where it belongs.' },
    pot: { name: 'Tea pot', price: 68, text: 'Four cups, a lid that stays, and a handle for two fingers.' },
  });
  const GLAZES = ['moss', 'sand', 'dusk'];

  /** @returns {string[]} keys of GOODS */
  function basket() {
    try {
      return JSON.parse(localStorage.getItem('shop.basket') ?? '[]').filter((/** @type {string} */ key) => GOODS[key]);
    } catch {
      return [];
    }
  }

  /** @param {string[]} keys */
  function keep(keys) {
    try {
      localStorage.setItem('shop.basket', JSON.stringify(keys));
    } catch {
      // the shop works without a memory
    }
    count();
  }

  function count() {
    for (const place of document.querySelectorAll('[data-count]')) place.textContent = String(basket().length);
  }

  /** @param {string} selector @param {string} value */
  function set(selector, value) {
    for (const place of document.querySelectorAll(selector)) place.textContent = value;
  }

  function product() {
    const query = new URLSearchParams(location.search);
    const key = query.get('item') ?? '';
    const good = GOODS[key] ?? GOODS.cup;
    const glaze = GLAZES.find((name) => name === query.get('glaze')) ?? 'moss';
    if (!good) return;
    document.title = `${good.name} in ${glaze} · Halden Pottery`;
    set('[data-name]', good.name);
    set('[data-text]', good.text);
    set('[data-price]', EUROS.format(good.price));
    document.querySelector('.detail use')?.setAttribute('href', `art.svg#${GOODS[key] ? key : 'cup'}`);
    const art = document.querySelector('.detail .art');
    art?.setAttribute('class', `art ${['', 'two', 'three'][GLAZES.indexOf(glaze)]}`);
    for (const link of document.querySelectorAll('.glazes a')) {
      const name = link.textContent?.trim().toLowerCase() ?? '';
      link.setAttribute('href', `?item=${GOODS[key] ? key : 'cup'}&glaze=${name}`);
      if (name === glaze) link.setAttribute('aria-current', 'true');
      else link.removeAttribute('aria-current');
    }
  }

  function detail() {
    if (!document.querySelector('.detail')) return;
    product();
    addEventListener('popstate', product);
    for (const link of document.querySelectorAll('.glazes a')) {
      link.addEventListener('click', (event) => {
        event.preventDefault();
        history.pushState(null, '', link.getAttribute('href'));
        product();
      });
    }
    document.querySelector('[data-add]')?.addEventListener('click', () => {
      const key = new URLSearchParams(location.search).get('item') ?? 'cup';
      keep([...basket(), key]);
      set('[data-added]', 'It is in your basket.');
      /** @type {any} */ (window).evothesis?.('event', 'basket_add', { item: key, price: GOODS[key]?.price });
    });
  }

  function checkout() {
    const table = document.querySelector('.basket');
    if (!table) return;
    const keys = basket();
    for (const key of keys) {
      const row = document.createElement('tr');
      for (const text of [GOODS[key]?.name ?? '', EUROS.format(GOODS[key]?.price ?? 0)]) {
        row.append(Object.assign(document.createElement('td'), { textContent: text }));
      }
      table.append(row);
    }
    set('[data-total]', EUROS.format(keys.reduce((sum, key) => sum + (GOODS[key]?.price ?? 0), 0)));
    document.querySelector('form')?.addEventListener('submit', (event) => {
      event.preventDefault();
      keep([]);
      table.replaceChildren();
      set('[data-total]', EUROS.format(0));
      set('[data-done]', 'Thank you. Nothing was sent: this shop is only a demonstration.');
      /** @type {any} */ (window).evothesis?.('event', 'purchase', { items: keys.length });
    });
  }

  function search() {
    const query = new URLSearchParams(location.search).get('q')?.toLowerCase() ?? '';
    const field = document.querySelector('[name=q]');
    if (field instanceof HTMLInputElement) field.value = query;
    for (const good of document.querySelectorAll('.goods li')) {
      if (!good.textContent?.toLowerCase().includes(query)) good.remove();
    }
  }

  /** A kiln that sings: a few seconds of thin metal, as samples of 8 bits. */
  function kiln() {
    const audio = document.querySelector('audio');
    if (!audio) return;
    const rate = 8_000;
    const sound = Uint8Array.from({ length: 6 * rate }, (_, n) => {
      const time = n / rate;
      const ping =
        Math.exp(-6 * (time % 0.75)) * Math.sin(2 * Math.PI * (1_700 + 300 * Math.floor(time / 0.75)) * time);
      return 128 + 40 * ping;
    });
    const head = new DataView(new ArrayBuffer(44)); // RIFF WAVE, PCM, one channel
    const words = [0x52494646, 36 + sound.length, 0x57415645, 0x666d7420, 16, 0x00010001, rate, rate, 0x00080001];
    [...words, 0x64617461, sound.length].forEach((word, place) => {
      head.setUint32(4 * place, word, ![0, 2, 3, 9].includes(place));
    });
    audio.src = URL.createObjectURL(new Blob([head, sound], { type: 'audio/wav' }));
  }

  detail();
  checkout();
  search();
  kiln();
  count();
})();
