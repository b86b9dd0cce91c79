// LML in a process of its own, started by `startAnswers`: every answer is composed before the first call comes, so that
// next to nothing of the machine goes into it. The URL says how late it answers, and with what: http://…/1900/original.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { answerText, type Content, SHAPES } from './verdicts.js';

const SELF = fileURLToPath(import.meta.url);
const CONTENTS: Content[] = ['original', 'touched', 'renewed'];

export interface Answers {
  pid: number;
  url(content: Content, latencyMs?: number): string;
  stop(): Promise<void>;
}

/** Starts the process and waits until it has its answers on the catalogue's first rows ready. */
export async function startAnswers(rows: number): Promise<Answers> {
  const child: ChildProcess = fork(SELF, [String(rows)]);
  const ended = once(child, 'exit');
  const [port] = await Promise.race([
    once(child, 'message'),
    ended.then(() => Promise.reject(new Error('the process that plays LML ended'))),
  ]);
  return {
    pid: child.pid!,
    url: (content, latencyMs = 0) => `http://127.0.0.1:${port}/${latencyMs}/${content}`,
    async stop() {
      child.disconnect();
      await ended;
    },
  };
}

/** Answers until the parent process is gone. */
async function answer(rows: number): Promise<void> {
  // Beyond a hundred thousand the verdicts come again.
  const ids = Array.from({ length: Math.min(rows, SHAPES) }, (_, index) => index + 1);
  for (const content of CONTENTS) answerText(ids, content);

  const server = createServer(async (request, response) => {
    const [, latencyMs, content] = request.url!.split('/');
    const { inputs } = (await json(request)) as { inputs: { library_id: number }[] };
    if (latencyMs !== '0') await sleep(Number(latencyMs));
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(
      answerText(
        inputs.map((input) => input.library_id),
        content as Content,
      ),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  process.once('disconnect', () => process.exit());
  process.send!((server.address() as AddressInfo).port);
}

if (process.argv[1] === SELF) await answer(Number(process.argv[2]));
