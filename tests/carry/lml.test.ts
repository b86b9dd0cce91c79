// The way to LML over a real socket: what is sent, what comes back, and that a call never lasts or grows without bound.
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { connectLml, type Lml } from '../../src/carry/lml.js';
import { type Reply, type StandIn, startStandIn } from '../../src/demo/stand-in.js';

const PATH = '/api/v1/identity/bulk-resolve-libraries';
const REQUEST = JSON.stringify({
  inputs: [{ library_id: 7, artist_name: 'Juana Molina', album_title: 'DOGA', legacy_release_id: null }],
  include_tracks: true,
});

let standIn: StandIn;
let lml: Lml;
const never = new AbortController().signal;

beforeEach(async () => {
  standIn = await startStandIn({ identities: new Map() });
  lml = connectLml(standIn.url, { timeoutMs: 5000 });
});
afterEach(async () => {
  await lml.close();
  await standIn.close();
});

describe('a call', () => {
  test('carries one text there and one text back, untouched', async () => {
    const body = '{"results": [ {"kind":"unresolved",  "library_id":7.0} ], "🎛️":"\\u0000 \\ud800 é"}\r\n';
    standIn.respondWith(() => ({ body }));

    expect(await lml.ask(REQUEST, never)).toEqual({
      status: 200,
      body,
      failure: null,
      retryAfter: null,
      latencyMs: expect.any(Number),
      discard: expect.any(Function),
    });
    expect(standIn.calls).toMatchObject([{ ids: [7], status: 200 }]);
    expect(standIn.calls[0]!.headers).toMatchObject({
      'content-type': 'application/json',
      'user-agent': expect.stringMatching(/^library-identity-sync\/\d+\.\d+\.\d+$/),
    });
  });

  test.each(['', '/', '/api/v1', '/api/v1/', '//', '/api/v1//', PATH, `${PATH}/`])(
    'goes to the one endpoint where the base URL ends in "%s"',
    async (end) => {
      const other = connectLml(`${standIn.url}${end}`, { timeoutMs: 5000 });
      await other.ask(REQUEST, never);
      await other.close();
      expect(standIn.calls.map((call) => call.path)).toEqual([PATH]);
    },
  );

  test.each(['/lml', '/lml/', '/lml/api/v1', `/lml${PATH}`])(
    'goes below the path of a base URL with one: "%s"',
    async (path) => {
      const other = connectLml(`${standIn.url}${path}`, { timeoutMs: 5000 });
      expect(await other.ask(REQUEST, never)).toMatchObject({ status: 404 });
      await other.close();
      expect(standIn.calls.map((call) => call.path)).toEqual([`/lml${PATH}`]);
    },
  );

  test.each([
    ['sk-1234', 'Bearer sk-1234'],
    [undefined, undefined],
    ['', undefined],
  ])('with the key %j has the authorization %j', async (apiKey, authorization) => {
    const other = connectLml(standIn.url, { apiKey, timeoutMs: 5000 });
    await other.ask(REQUEST, never);
    await other.close();
    expect(standIn.calls[0]!.headers.authorization).toBe(authorization);
  });

  test('takes a connection that is there already', async () => {
    for (let call = 0; call < 10; call++) await lml.ask(REQUEST, never);
    expect(standIn.calls).toHaveLength(10);
    expect(standIn.connections).toBeLessThan(3);
  });

  test.each([400, 401, 403, 404, 413, 422, 429, 500, 503])(
    'brings the status %i with its body',
    async (status) => {
      standIn.respondWith(() => ({ status, body: '<html>no</html>' }));
      expect(await lml.ask(REQUEST, never)).toMatchObject({ status, body: '<html>no</html>', failure: null });
    },
  );

  test.each(['120', 'Wed, 21 Oct 2026 07:28:00 GMT'])(
    'brings the header Retry-After as it is: %s',
    async (when) => {
      standIn.respondWith(() => ({ status: 429, headers: { 'retry-after': when } }));
      expect(await lml.ask(REQUEST, never)).toMatchObject({ status: 429, retryAfter: when });
    },
  );

  test.each([
    [301, 'https://lml.example.org/v2?key=sk-1', 'https://lml.example.org/v2'],
    [302, 'https://bob:hunter2@lml.example.org/', 'https://lml.example.org/'],
    [307, '/elsewhere/sk-1234-5678', '/elsewhere/[LML_API_KEY]'],
    [308, 'https://[', 'no URL'],
  ])(
    'follows no redirect, which would carry the key elsewhere, and says where it points: %i %s',
    async (status, location, place) => {
      const other = connectLml(standIn.url, { apiKey: 'sk-1234-5678', timeoutMs: 5000 });
      standIn.respondWith(() => ({ status, headers: { location }, body: 'moved' }));
      const { host } = new URL(standIn.url);
      expect(await other.ask(REQUEST, never)).toMatchObject({
        status,
        failure: `${host} answered ${status} and points to ${place.startsWith('/') ? standIn.url + place : place}, which is not followed: LIBRARY_METADATA_URL must name where LML itself is`,
      });
      await other.close();
      expect(standIn.calls).toHaveLength(1);
    },
  );

  test('never brings the key back, whatever LML answers', async () => {
    const other = connectLml(standIn.url, { apiKey: 'sk-1234-5678', timeoutMs: 5000 });
    for (const status of [200, 401]) {
      standIn.respondWith(() => ({ status, body: 'no such key: sk-1234-5678' }));
      expect(await other.ask(REQUEST, never)).toMatchObject({ status, body: 'no such key: [LML_API_KEY]' });
    }
    await other.close();
  });

  test('never brings a key back that JSON writes with escapes, nor a part of one in a long redirect', async () => {
    const apiKey = 'sk-"12\\34"/5678';
    const other = connectLml(standIn.url, { apiKey, timeoutMs: 5000 });
    standIn.respondWith(() => ({ status: 401, body: JSON.stringify({ detail: `no such key: ${apiKey}` }) }));
    const answer = await other.ask(REQUEST, never);
    expect(JSON.parse(answer.body!)).toEqual({ detail: 'no such key: [LML_API_KEY]' });
    await other.close();

    const redirected = connectLml(standIn.url, { apiKey: 'sk-1234-5678', timeoutMs: 5000 });
    const path = `/${'x'.repeat(193 - standIn.url.length)}`;
    standIn.respondWith(() => ({ status: 307, headers: { location: `${path}sk-1234-5678` }, body: '' }));
    expect((await redirected.ask(REQUEST, never)).failure).not.toContain('sk-1');
    await redirected.close();
  });

  test('says how long it took', async () => {
    standIn.respondWith(() => ({ delayMs: 150 }));
    const { latencyMs } = await lml.ask(REQUEST, never);
    expect(latencyMs).toBeGreaterThanOrEqual(149);
    expect(Number.isInteger(latencyMs)).toBe(true);
  });
});

describe('a call that fails says why, and never rejects', () => {
  const tooMuch = Buffer.alloc(24_000_001, ' ');

  test.each<[string, Reply, number | null, RegExp]>([
    ['no answer at all', { delayMs: 60_000 }, null, /^no whole answer from 127.0.0.1:\d+ within 300 ms$/],
    ['a body that stalls', { stall: true }, 200, /^no whole answer from 127.0.0.1:\d+ within 300 ms$/],
    [
      'a body that drips',
      { drip: { bytes: 1, everyMs: 20 } },
      200,
      /^no whole answer from 127.0.0.1:\d+ within 300 ms$/,
    ],
  ])('%s, by the timeout of the whole call', async (_, reply, status, words) => {
    const hasty = connectLml(standIn.url, { timeoutMs: 300 });
    standIn.respondWith(() => ({ ...reply, body: 'a body of more letters than there is time for' }));

    const answer = await hasty.ask(REQUEST, never);
    await hasty.close();
    expect(answer).toMatchObject({ status, body: null, failure: expect.stringMatching(words) });
    expect(answer.latencyMs).toBeGreaterThanOrEqual(299);
    expect(answer.latencyMs).toBeLessThan(3000);
  });

  test.each<[string, Reply, RegExp]>([
    [
      'a body cut off',
      { destroy: true },
      /^the call to 127.0.0.1:\d+ failed: the connection broke \(UND_ERR_SOCKET\)$/,
    ],
    [
      'a body beyond all bounds',
      { body: tooMuch },
      / failed: the answer has more than 24 MB \(UND_ERR_RES_EXCEEDED_MAX_SIZE\)$/,
    ],
    ['a body that is no UTF-8', { body: Buffer.from([0x7b, 0xff, 0x7d]) }, /^the answer is no UTF-8 text$/],
    ['a surrogate in UTF-8', { body: Buffer.from([0xed, 0xa0, 0x80]) }, /^the answer is no UTF-8 text$/],
    ['a NUL, which no text of PostgreSQL holds', { body: '{"results":["\0"]}' }, /^the answer /],
  ])('%s', async (_, reply, words) => {
    standIn.respondWith(() => reply);
    const { status, body, failure } = await lml.ask(REQUEST, never);
    expect(status).toBe(200);
    // Not the body itself: to print 24 MB that came after all would take minutes.
    expect(body === null).toBe(true);
    expect(failure).toMatch(words);
  });

  test('no server', async () => {
    const nowhere = connectLml('http://127.0.0.1:1', { timeoutMs: 5000 });
    expect(await nowhere.ask(REQUEST, never)).toMatchObject({
      status: null,
      body: null,
      failure: 'the call to 127.0.0.1:1 failed: nothing listens there (ECONNREFUSED)',
    });
    await nowhere.close();
  });

  test('another end that speaks no HTTP', async () => {
    const server = createServer((socket) => socket.end('SSH-2.0-OpenSSH_9.6\r\n')).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const other = connectLml(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, {
      timeoutMs: 5000,
    });
    expect(await other.ask(REQUEST, never)).toMatchObject({
      status: null,
      failure: expect.stringMatching(
        /^the call to 127.0.0.1:\d+ failed: what came is no HTTP \(HTTPParserError\)$/,
      ),
    });
    await other.close();
    server.close();
  });

  test('the end of this process, before the answer and in the middle of it', async () => {
    for (const [index, reply] of [{ delayMs: 60_000 }, { stall: true, body: 'x' }].entries()) {
      standIn.respondWith(() => reply);
      const stop = new AbortController();
      const asked = lml.ask(REQUEST, stop.signal);
      await expect.poll(() => standIn.calls[index]?.ids).toEqual([7]);
      stop.abort();
      expect(await asked).toMatchObject({ body: null, failure: 'cut off by the end of this process' });
    }
  });

  test('a body just within bounds comes whole', async () => {
    const body = Buffer.alloc(24_000_000, 'x');
    standIn.respondWith(() => ({ body }));
    const patient = connectLml(standIn.url, { timeoutMs: 60_000 });
    const answer = await patient.ask(REQUEST, never);
    await patient.close();
    expect(answer.failure).toBeNull();
    expect(answer.body?.length).toBe(body.length);
  });

  test('and the next call is none the worse for it', async () => {
    standIn.respondWith(({ index }) => (index === 0 ? { destroy: true } : undefined));
    expect(await lml.ask(REQUEST, never)).toMatchObject({ body: null });
    expect(await lml.ask(REQUEST, never)).toMatchObject({ status: 200, failure: null });
  });
});

describe('a connection that ends just as a call takes it', () => {
  const ANSWER = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}';
  let server: Server;
  let requests: number[];

  /** Starts a server that answers so many requests of a connection and resets it at the next one. */
  async function serve(answers: number): Promise<Lml> {
    requests = [];
    server = createServer((socket: Socket) => {
      const connection = requests.push(0) - 1;
      socket
        .on('error', () => {})
        .on('data', (data) => {
          if (!data.includes('POST ')) return;
          requests[connection]!++;
          if (requests[connection]! > answers) socket.resetAndDestroy();
          else socket.write(ANSWER);
        });
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    return connectLml(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, { timeoutMs: 5000 });
  }
  afterEach(() => server.close());

  test('costs no try: the call is made again on a fresh one', async () => {
    const other = await serve(1);
    for (let call = 0; call < 3; call++)
      expect(await other.ask(REQUEST, never)).toMatchObject({ status: 200, body: '{}', failure: null });
    await other.close();
    expect(requests).toEqual([2, 2, 1]);
  });

  test('is a fault of LML where it was a fresh one', async () => {
    const other = await serve(0);
    expect(await other.ask(REQUEST, never)).toMatchObject({
      status: null,
      failure: expect.stringMatching(/^the call to 127.0.0.1:\d+ failed: the connection broke \(\w+\)$/),
    });
    await other.close();
    expect(requests).toEqual([1]);
  });
});
