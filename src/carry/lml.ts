// The way to LML: POSTs one text, returns one text, and looks into neither.
import { Client } from 'undici';
import { VERSION } from '../version.js';
import { decode } from './decode.js';
import { failureOf, hasBroken, MAX_ANSWER_BYTES, redirectTo } from './failure.js';

const PATH = '/api/v1/identity/bulk-resolve-libraries';

// A shorter key could be a word of an answer, which is handed on untouched.
const SHORTEST_SECRET = 8;

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

/** A connection to LML, and whether it has brought an answer before. */
interface Way {
  client: Client;
  isReused: boolean;
}

/**
 * Opens the way to LML. The URL may be the base, end in `/api/v1`, or name the whole endpoint. `timeoutMs` bounds the whole
 * call, so an answer that drips is cut off too. A call never rejects: the answer says what went wrong.
 */
export function connectLml(
  baseUrl: string,
  options: { apiKey?: string | undefined; timeoutMs: number },
): Lml {
  const endpoint = new URL(baseUrl);
  endpoint.pathname =
    endpoint.pathname.replace(/\/+$/, '').replace(new RegExp(`(${PATH}|/api/v1)$`), '') + PATH;
  const { apiKey, timeoutMs } = options;
  const headers = {
    'content-type': 'application/json',
    accept: 'application/json',
    'user-agent': `library-identity-sync/${VERSION}`,
    ...(apiKey && { authorization: `Bearer ${apiKey}` }),
  };
  const idle: Way[] = [];

  /** Takes a connection of its own for each call in flight, since only so is it known whether it is a fresh one. */
  function openWay(): Way {
    const client = new Client(endpoint.origin, {
      maxResponseSize: MAX_ANSWER_BYTES,
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      connect: { timeout: timeoutMs },
    });
    const way = { client, isReused: false };
    client.on('connect', () => {
      way.isReused = false;
    });
    return way;
  }

  /** An error that quotes the key must not carry it into a log or the quarantine. */
  function withoutKey(text: string, status: number): string {
    if (!apiKey || (status === 200 && apiKey.length < SHORTEST_SECRET)) return text;
    const inJson = JSON.stringify(apiKey).slice(1, -1);
    return text.replaceAll(apiKey, '[LML_API_KEY]').replaceAll(inJson, '[LML_API_KEY]');
  }

  return {
    async ask(body, signal) {
      const started = performance.now();
      const bound = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
      for (;;) {
        const way = idle.pop() ?? openWay();
        const { isReused } = way;
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
          const response = await way.client.request({
            path: endpoint.pathname + endpoint.search,
            method: 'POST',
            headers,
            body,
            signal: bound,
          });
          status = response.statusCode;
          retryAfter = response.headers['retry-after']?.toString() ?? null;
          const { text, fault } = decode(await response.body.arrayBuffer());
          way.isReused = true;
          idle.push(way);
          const { location } = response.headers;
          // Before a long one is cut, and the key with it.
          const target = location === undefined ? undefined : withoutKey(String(location), status);
          const redirect = redirectTo(status, target, endpoint);
          if (redirect !== null) return answer(null, redirect);
          if (fault !== null) return answer(null, `the answer ${fault}`);
          return answer(withoutKey(text, status), null);
        } catch (error) {
          void way.client.destroy().catch(() => {});
          // LML may close a connection that was idle just as the next call takes it. Nothing was answered on it.
          if (status === null && isReused && hasBroken(error)) {
            for (const { client } of idle.splice(0)) void client.destroy().catch(() => {});
            continue;
          }
          return answer(null, failureOf(error, endpoint, timeoutMs));
        }
      }
    },
    async close() {
      await Promise.all(idle.splice(0).map(({ client }) => client.close()));
    },
  };
}
