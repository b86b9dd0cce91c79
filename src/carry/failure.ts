// Why a call to LML failed, in words of our own, since those of sockets say neither where nor what to do.

// The answer for 1,000 compilations is about 11 MB. The database reads no larger one than this.
export const MAX_ANSWER_BYTES = 24_000_000;

const MOST_LOCATION = 200;

const BROKEN = ['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET'];

// The first that matches a code says what it means.
const WORDS: [RegExp, string][] = [
  [/^ECONNREFUSED$/, 'nothing listens there'],
  [/^ENOTFOUND$/, 'there is no such host'],
  [/^EAI_/, 'the name of the host could not be looked up'],
  [/^(EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL)$/, 'no network leads there'],
  [/^(ETIMEDOUT|UND_ERR_CONNECT_TIMEOUT)$/, 'no connection came about in time'],
  [/^(ECONNRESET|EPIPE|UND_ERR_SOCKET)$/, 'the connection broke'],
  [/^UND_ERR_HEADERS_TIMEOUT$/, 'no whole answer came in time'],
  [/^UND_ERR_RES_EXCEEDED_MAX_SIZE$/, `the answer has more than ${MAX_ANSWER_BYTES / 1e6} MB`],
  [/^ERR_TLS_CERT_ALTNAME_INVALID$/, 'its certificate is for another host'],
  [/^CERT_HAS_EXPIRED$/, 'its certificate has expired'],
  [
    /CERT|ISSUER|UNABLE_TO_/,
    'its certificate is not trusted; NODE_EXTRA_CA_CERTS may name the file of its authority',
  ],
  [/^(ERR_SSL_|EPROTO)/, 'it speaks no TLS that fits'],
  [/^(HPE_|HTTPParserError|UND_ERR_HEADERS_OVERFLOW)/, 'what came is no HTTP'],
];

/** Whether a call failed because its connection ended. */
export const hasBroken = (error: unknown): boolean => BROKEN.includes(codeOf(error) ?? '');

/** Why a call failed: where it went, and the cause in words with its code. */
export function failureOf(error: unknown, endpoint: URL, timeoutMs: number): string {
  const { name } = error as { name?: string };
  if (name === 'AbortError') return 'cut off by the end of this process';
  const place = placeOf(endpoint);
  if (name === 'TimeoutError') return `no whole answer from ${place} within ${timeoutMs} ms`;
  const code = codeOf(error) ?? String(name);
  const words = WORDS.find(([codes]) => codes.test(code))?.[1];
  return `the call to ${place} failed: ${words === undefined ? code : `${words} (${code})`}`;
}

/** What an answer that points elsewhere means; null for any other. It is not followed: the key would go along. */
export function redirectTo(status: number, location: string | undefined, endpoint: URL): string | null {
  if (status < 300 || status > 399 || location === undefined) return null;
  const target = URL.parse(location, endpoint.href);
  if (target !== null) Object.assign(target, { username: '', password: '', search: '', hash: '' });
  const place = (target?.href ?? 'no URL').slice(0, MOST_LOCATION);
  return `${placeOf(endpoint)} answered ${status} and points to ${place}, which is not followed: LIBRARY_METADATA_URL must name where LML itself is`;
}

/** The host and port that a URL leads to. */
function placeOf({ protocol, hostname, port }: URL): string {
  return `${hostname}:${port || (protocol === 'https:' ? 443 : 80)}`;
}

function codeOf(error: unknown): string | null {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? code : null;
}
