// Plays Sentry on a local socket: takes envelopes as its SDK sends them and keeps what was in them.
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';

export interface ReceivedSpan {
  name: string;
  trace_id: string;
  span_id: string;
  parent_span_id?: string;
  start_timestamp: number;
  end_timestamp: number;
  status: string;
  attributes: Record<string, unknown>;
}

export interface ReceivedError {
  level: string;
  release?: string;
  environment?: string;
  exception: { values: { type: string; value: string }[] };
  fingerprint: string[];
  tags: Record<string, string>;
  contexts: { trace: { trace_id: string; parent_span_id?: string } };
}

export interface ReceivedCheckIn {
  check_in_id: string;
  monitor_slug: string;
  status: string;
  monitor_config: Record<string, unknown>;
  contexts?: { trace: { trace_id: string } };
}

export interface SentryReceiver {
  dsn: string;
  /** All that came in, as text. */
  texts: string[];
  spans(): ReceivedSpan[];
  errors(): ReceivedError[];
  checkIns(): ReceivedCheckIn[];
  close(): Promise<void>;
}

/** Starts a receiver that answers, or one that takes a request and is silent for ever. */
export async function startSentryReceiver(options: { silent?: boolean } = {}): Promise<SentryReceiver> {
  const texts: string[] = [];
  const server = createServer(async (request, response) => {
    const body = await buffer(request);
    const text = request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body;
    texts.push(`${JSON.stringify(request.headers)}\n${text}`);
    if (options.silent) return;
    const isEnvelope = request.method === 'POST' && request.url?.startsWith('/api/4711/envelope/');
    response.writeHead(isEnvelope ? 200 : 404).end('{}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  const items = (type: string) =>
    texts.flatMap((text) => itemsOf(text.slice(text.indexOf('\n') + 1))).filter((item) => item.type === type);

  return {
    dsn: `http://publickey@127.0.0.1:${(server.address() as AddressInfo).port}/4711`,
    texts,
    spans: () => items('span').flatMap(({ payload }) => (payload.items as Serialized[]).map(plainSpan)),
    errors: () => items('event').map(({ payload }) => payload as unknown as ReceivedError),
    checkIns: () => items('check_in').map(({ payload }) => payload as unknown as ReceivedCheckIn),
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

/** The items of an envelope, which is lines of JSON: its header, then a header and a payload for each item. */
function itemsOf(envelope: string) {
  const [, ...lines] = envelope.trimEnd().split('\n');
  return Array.from({ length: lines.length / 2 }, (_, index) => ({
    type: JSON.parse(lines[2 * index]!).type as string,
    payload: JSON.parse(lines[2 * index + 1]!) as Record<string, unknown>,
  }));
}

type Serialized = Omit<ReceivedSpan, 'attributes'> & { attributes: Record<string, { value: unknown }> };

/** On the wire an attribute stands beside its type. */
function plainSpan(span: Serialized): ReceivedSpan {
  const attributes = Object.entries(span.attributes).map(([name, { value }]) => [name, value]);
  return { ...span, attributes: Object.fromEntries(attributes) };
}
