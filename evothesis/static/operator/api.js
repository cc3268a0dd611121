/** The operator's API: asked with a token that is kept for as long as this tab lives. */

const STORED_AS = 'evothesis-token';
const ANSWER_MS_MAX = 15_000;

/** Why there is no answer. */
export class Trouble extends Error {
  /** @param {number} status 0: nobody answered @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function token() {
  return sessionStorage.getItem(STORED_AS) ?? '';
}

/** @param {string} secret nothing: forget it */
export function keep(secret) {
  if (secret) sessionStorage.setItem(STORED_AS, secret);
  else sessionStorage.removeItem(STORED_AS);
}

/** @param {string} path @returns {Promise<any>} */
export async function ask(path) {
  const headers = { Authorization: `Bearer ${token()}` };
  let answer;
  let body;
  try {
    answer = await fetch(path, { headers, cache: 'no-store', signal: AbortSignal.timeout(ANSWER_MS_MAX) });
    body = await answer.json();
  } catch {
    throw new Trouble(0, 'the server does not answer');
  }
  if (answer.ok || path === 'health') return body; // which says with 503 that, and why, it is not well
  throw new Trouble(answer.status, body.error?.message ?? `the server answered ${answer.status}`);
}

/** @param {Record<string, string>} wish @returns {WebSocket} events as they are stored */
export function stream(wish) {
  const url = new URL('stream', location.href);
  url.protocol = url.protocol.replace('http', 'ws');
  url.search = new URLSearchParams(wish).toString();
  // no header of ours can be sent here, and an address would be kept in logs
  const secret = btoa(token()).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
  return new WebSocket(url, ['evothesis', `bearer.${secret}`]);
}
