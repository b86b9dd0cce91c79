// The way to LML: POSTs one text, returns one text, and looks into neither.
import { Client, type Dispatcher, errors } from 'undici';
import { VERSION } from '../version.js';
import { Clock } from './clock.js';
import { decode } from './decode.js';
import { failureOf, hasBroken, MAX_ANSWER_BYTES, redirectTo } from './failure.js';
import { InHand, type Share } from './in-hand.js';

const PATH = '/api/v1/identity/bulk-resolve-libraries';

// A shorter key could be a word of an answer, which is handed on untouched.
const SHORTEST_SECRET = 8;

// Where an answer does not announce its length, it gets so much at first, and then twice as much each time.
const FIRST_BYTES = 65_536;

/** How a call ended: with a status and a body, or with the reason why there is none. */
export interface Answer {
  status: number | null;
  body: string | null;
  failure: string | null;
  retryAfter: string | null;
  latencyMs: number;
  /** Drops the body, once the database has it, and makes room for others. */
  discard(): void;
}

/** Stands for an answer of an earlier call, whose text the database has kept. */
export const KEPT_ANSWER: Answer = {
  status: 200,
  body: null,
  failure: null,
  retryAfter: null,
  latencyMs: 0,
  discard() {},
};

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
 * call, less its waits for room in hand, so an answer that drips is cut off too. A call never rejects: the answer says what
 * went wrong.
 */
export function connectLml(
  baseUrl: string,
  options: { apiKey?: string | undefined; timeoutMs: number; inHand?: InHand },
): Lml {
  const endpoint = new URL(baseUrl);
  endpoint.pathname =
    endpoint.pathname.replace(/\/+$/, '').replace(new RegExp(`(${PATH}|/api/v1)$`), '') + PATH;
  const { apiKey, timeoutMs, inHand = new InHand() } = options;
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
      // The clock of the call stands still while a body waits for room.
      bodyTimeout: 0,
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
      const clock = new Clock(timeoutMs);
      const bound = AbortSignal.any([signal, clock.isOver]);
      for (;;) {
        const way = idle.pop() ?? openWay();
        const { isReused } = way;
        let share: Share | null = null;
        let status: number | null = null;
        let retryAfter: string | null = null;
        const answer = (body: string | null, failure: string | null): Answer => {
          if (body === null) share?.giveBack();
          return {
            status,
            body,
            failure,
            retryAfter,
            latencyMs: Math.round(clock.stop()),
            discard() {
              this.body = null;
              share?.giveBack();
            },
          };
        };
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
          share = inHand.open();
          const { text, fault } = decode(await receive(response, share, clock, bound));
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

/** Reads a body as there is room for it: what is not read stays with LML. */
async function receive(
  { headers, body }: Dispatcher.ResponseData,
  share: Share,
  clock: Clock,
  signal: AbortSignal,
): Promise<Uint8Array> {
  let bytes = new Uint8Array(0);
  let length = 0;
  async function grow(to: number) {
    clock.stop();
    await share.take(to - bytes.length, signal);
    clock.start();
    const larger = new Uint8Array(to);
    larger.set(bytes);
    bytes = larger;
  }
  const announced = Number(headers['content-length'] ?? 0);
  if (announced > MAX_ANSWER_BYTES) throw new errors.ResponseExceededMaxSizeError();
  if (announced > 0) await grow(announced);
  for await (const piece of body as AsyncIterable<Uint8Array>) {
    const needed = length + piece.length;
    if (needed > bytes.length)
      await grow(Math.max(needed, Math.min(bytes.length * 2 || FIRST_BYTES, MAX_ANSWER_BYTES)));
    bytes.set(piece, length);
    length = needed;
  }
  share.giveBack(bytes.length - length);
  return bytes.subarray(0, length);
}
