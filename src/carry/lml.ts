// The way to LML: POSTs one text, returns one text, and looks into neither.
import { Agent, request } from 'undici';

const PATH = '/api/v1/identity/bulk-resolve-libraries';

// The answer for 1,000 compilations is about 11 MB; a body several times larger is a fault.
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

/** How a call ended: with a status and a body, or with the reason why there is none. */
export interface Answer {
  status: number | null;
  body: string | null;
  failure: string | null;
  retryAfter: string | null;
  latencyMs: number;
}

/** Stands for an answer of an earlier call, whose text the database has kept. */
export const KEPT_ANSWER: Answer = { status: 200, body: null, failure: null, retryAfter: null, latencyMs: 0 };

export interface Lml {
  ask(body: string, signal: AbortSignal): Promise<Answer>;
  close(): Promise<void>;
}

/**
 * Opens the way to LML. The base URL may end in `/`, in `/api/v1` or in `/api/v1/`. `timeoutMs` bounds the whole call, so
 * an answer that drips is cut off too. A call never rejects: the answer says what went wrong.
 */
export function connectLml(
  baseUrl: string,
  options: { apiKey?: string | undefined; timeoutMs: number },
): Lml {
  const endpoint = new URL(baseUrl);
  endpoint.pathname = endpoint.pathname.replace(/\/+$/, '').replace(/\/api\/v1$/, '') + PATH;
  const agent = new Agent({
    maxResponseSize: MAX_ANSWER_BYTES,
    headersTimeout: options.timeoutMs,
    bodyTimeout: options.timeoutMs,
    connect: { timeout: options.timeoutMs },
  });
  const headers = {
    'content-type': 'application/json',
    accept: 'application/json',
    ...(options.apiKey && { authorization: `Bearer ${options.apiKey}` }),
  };

  return {
    async ask(body, signal) {
      const started = performance.now();
      let status: number | null = null;
      let retryAfter: string | null = null;
      const answer = (body: string | null, failure: string | null): Answer => ({
        status,
        body,
        failure,
        retryAfter,
        latencyMs: Math.round(performance.now() - started),
      });
      try {
        const response = await request(endpoint, {
          method: 'POST',
          headers,
          body,
          dispatcher: agent,
          signal: AbortSignal.any([signal, AbortSignal.timeout(options.timeoutMs)]),
        });
        status = response.statusCode;
        retryAfter = response.headers['retry-after']?.toString() ?? null;
        const { text, fault } = decode(await response.body.arrayBuffer());
        if (fault !== null) return answer(null, fault);
        // An error that quotes the key must not carry it into a log or the quarantine.
        const isSafe = status === 200 || !options.apiKey;
        return answer(isSafe ? text : text.replaceAll(options.apiKey as string, '[LML_API_KEY]'), null);
      } catch (error) {
        return answer(null, failureOf(error, options.timeoutMs));
      }
    },
    close: () => agent.close(),
  };
}

/** Decodes a body. PostgreSQL's text holds neither broken UTF-8 nor a NUL, so either is a fault. */
function decode(bytes: ArrayBuffer): { text: string; fault: null } | { text: null; fault: string } {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    if (!text.includes('\0')) return { text, fault: null };
    return { text: null, fault: 'the answer holds a NUL, which no text of PostgreSQL does' };
  } catch {
    return { text: null, fault: 'the answer is no UTF-8 text' };
  }
}

/** Names a failure by its code, since the messages of sockets contain addresses. */
function failureOf(error: unknown, timeoutMs: number): string {
  const { name, code } = error as { name?: string; code?: unknown };
  if (name === 'TimeoutError') return `no whole answer within ${timeoutMs} ms`;
  if (name === 'AbortError') return 'cut off by the end of this process';
  return `the call failed: ${typeof code === 'string' ? code : name}`;
}
