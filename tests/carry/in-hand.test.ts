// Bytes in hand are bounded over a real socket, whatever LML sends at once: what finds no room stays with LML, in good order.
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { InHand } from '../../src/carry/in-hand.js';
import { type Answer, connectLml, type Lml } from '../../src/carry/lml.js';
import fc from '../support/fast-check.js';

const MB = 1_000_000;
const PATIENTLY = { timeout: 30_000, interval: 10 };
const never = new AbortController().signal;

let server: Server;
let inHand: InHand;
let lml: Lml;
let asked: number;
/** How each call is answered, by its number. */
let answer: (response: ServerResponse, index: number) => void;

async function open(sharedBytes: number, timeoutMs = 30_000) {
  inHand = new InHand(sharedBytes);
  lml = connectLml(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, { timeoutMs, inHand });
}

beforeEach(async () => {
  asked = 0;
  server = createServer((request, response) => {
    response.on('error', () => {});
    request.resume().on('end', () => answer(response, asked++));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterEach(async () => {
  await lml.close();
  server.closeAllConnections();
  server.close();
});

/** The most that is in hand until the calls are over; each answer takes the database a moment. */
async function mostInHand(calls: Promise<Answer>[]): Promise<{ most: number; answers: Answer[] }> {
  let isOver = false;
  let most = 0;
  const written = Promise.all(
    calls.map(async (call) => {
      const came = await call;
      const copy = { ...came };
      await sleep(10);
      came.discard();
      return copy;
    }),
  ).finally(() => {
    isOver = true;
  });
  while (!isOver) {
    most = Math.max(most, inHand.bytes);
    await setImmediate();
  }
  return { most, answers: await written };
}

const ask = (count: number) => Array.from({ length: count }, () => lml.ask('{}', never));

describe('many large answers at once', () => {
  const body = Buffer.alloc(3 * MB, 'x');

  test.each<[string, (response: ServerResponse) => void]>([
    ['that announce their length', (response) => response.end(body)],
    [
      'that come in pieces',
      (response) => {
        response.write(body.subarray(0, MB));
        response.end(body.subarray(MB));
      },
    ],
  ])('%s never exceed the bound, and each comes whole and is asked for once', async (_, send) => {
    answer = send;
    await open(7 * MB);
    const { most, answers } = await mostInHand(ask(32));
    expect(most).toBeGreaterThan(4 * MB);
    // Pieces may take twice what they hold.
    expect(most).toBeLessThanOrEqual(7 * MB + 2 * body.length);
    expect(answers.map(({ status, failure, body: text }) => [status, failure, text?.length])).toEqual(
      answers.map(() => [200, null, body.length]),
    );
    expect(asked).toBe(32);
    expect(inHand.bytes).toBe(0);
  });

  test('that are all half read when the room is used up all come whole', async () => {
    const halves: (() => void)[] = [];
    answer = (response) => {
      response.write(body.subarray(0, MB));
      halves.push(() => response.end(body.subarray(MB)));
    };
    await open(8 * MB);
    const calls = ask(8);
    await expect.poll(() => inHand.bytes, PATIENTLY).toBeGreaterThanOrEqual(8 * MB);
    for (const send of halves) send();
    const { answers } = await mostInHand(calls);
    expect(answers.map(({ body: text }) => text?.length)).toEqual(answers.map(() => body.length));
  });
});

describe('a hostile answer that never ends', () => {
  const small = (response: ServerResponse) => response.end('{"results": []}');

  test('keeps no other from coming while it is the eldest', async () => {
    answer = (response, index) =>
      index === 0 ? response.write(Buffer.alloc(20 * MB, 'x')) : small(response);
    await open(MB);
    const stop = new AbortController();
    const hostile = lml.ask('{}', stop.signal);
    await expect.poll(() => inHand.bytes, PATIENTLY).toBeGreaterThan(15 * MB);
    for (const came of await Promise.all(ask(20))) {
      expect(came).toMatchObject({ status: 200, failure: null, body: '{"results": []}' });
      came.discard();
    }
    stop.abort();
    expect(await hostile).toMatchObject({ body: null });
  });

  test('stops the others no longer than its own timeout, which is none of theirs', async () => {
    answer = (response, index) => {
      if (index > 1) return small(response);
      response.writeHead(200, { 'content-length': 20 * MB });
      response.write('x');
    };
    await open(20 * MB, 5000);
    const hostile = ask(2);
    await expect.poll(() => inHand.bytes, PATIENTLY).toBe(40 * MB);
    const { answers } = await mostInHand(ask(20));
    expect(answers.map(({ failure }) => failure)).toEqual(answers.map(() => null));
    expect(await Promise.all(hostile)).toMatchObject([{ body: null }, { body: null }]);
    expect(asked).toBe(22);
  });

  test('that announces too much is not read at all', async () => {
    answer = (response) => {
      response.writeHead(200, { 'content-length': 64 * MB });
      response.write(Buffer.alloc(MB));
    };
    await open(MB);
    const { most, answers } = await mostInHand(ask(1));
    expect(most).toBe(0);
    expect(answers).toMatchObject([
      { body: null, failure: expect.stringMatching(/the answer has more than 24 MB/) },
    ]);
  });
});

describe('an answer that waits for room', () => {
  const waiting = async () => {
    answer = (response) => response.end('{}');
    await open(0, 2000);
    const eldest = inHand.open();
    await eldest.take(1, never);
    return eldest;
  };

  test('has its time stand still, and LML is not charged with the wait', async () => {
    const eldest = await waiting();
    const call = lml.ask('{}', never);
    await expect.poll(() => asked, PATIENTLY).toBe(1);
    await sleep(2500);
    eldest.giveBack();
    const { status, body, failure, latencyMs } = await call;
    expect({ status, body, failure }).toEqual({ status: 200, body: '{}', failure: null });
    expect(latencyMs).toBeLessThan(2000);
  });

  test('is cut off by the end of this process, and keeps nothing', async () => {
    const eldest = await waiting();
    const stop = new AbortController();
    const call = lml.ask('{}', stop.signal);
    await expect.poll(() => asked, PATIENTLY).toBe(1);
    stop.abort();
    expect(await call).toMatchObject({ body: null, failure: 'cut off by the end of this process' });
    eldest.giveBack();
    expect(inHand.bytes).toBe(0);
  });
});

test('whatever the order, no more is shared than may be, and everyone gets its turn', async () => {
  const piece = fc.record({ bytes: fc.integer({ min: 1, max: 10 }), ticks: fc.nat({ max: 3 }) });
  const answers = fc.array(fc.array(piece, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(answers, fc.nat({ max: 20 }), async (all, shared) => {
      const space = new InHand(shared);
      const greatest = Math.max(...all.map((pieces) => pieces.reduce((sum, { bytes }) => sum + bytes, 0)));
      await Promise.all(
        all.map(async (pieces) => {
          const share = space.open();
          for (const { bytes, ticks } of pieces) {
            await share.take(bytes, never);
            expect(space.bytes).toBeLessThanOrEqual(shared + greatest);
            for (let tick = 0; tick < ticks; tick++) await setImmediate();
          }
          share.giveBack();
        }),
      );
      expect(space.bytes).toBe(0);
    }),
    { numRuns: 200 },
  );
});
