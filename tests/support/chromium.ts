// A real browser for the page, where the machine has one, through its own protocol: nothing is downloaded.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { WebSocket } from 'undici';

/** The path of a program, by the first of these names that PATH knows; null where it knows none. */
export function findProgram(...names: string[]): string | null {
  const places = (process.env.PATH ?? '').split(delimiter);
  const paths = names.flatMap((name) => places.map((place) => join(place, name)));
  return paths.find((path) => existsSync(path)) ?? null;
}

export const CHROMIUM = findProgram('chromium', 'chromium-browser', 'google-chrome');

const FLAGS = [
  ...[
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-dev-shm-usage',
  ],
  ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
  '--remote-debugging-port=0',
];

export interface View {
  width: number;
  scheme: 'light' | 'dark';
}

export interface Seen {
  /** How wide the document is laid out. */
  scrollWidth: number;
  text: string;
  elements: Record<string, number>;
  colour: string;
  /** What the browser complained of, such as a breach of the policy. */
  complaints: string[];
  screenshot: Buffer;
}

export interface Browser {
  open(url: string, view: View): Promise<Seen>;
  close(): Promise<void>;
}

export async function startChromium(path: string): Promise<Browser> {
  const profile = await mkdtemp(join(tmpdir(), 'chromium-'));
  const child = spawn(path, [...FLAGS, `--user-data-dir=${profile}`, 'about:blank'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const address = await listeningAt(child);
  return {
    async open(url, { width, scheme }) {
      const target = await fetch(`http://${address}/json/new?about:blank`, { method: 'PUT' });
      const { id, webSocketDebuggerUrl } = (await target.json()) as {
        id: string;
        webSocketDebuggerUrl: string;
      };
      const session = await connect(webSocketDebuggerUrl);
      try {
        const { ask } = session;
        await Promise.all([ask('Page.enable'), ask('Log.enable'), ask('Runtime.enable')]);
        await ask('Emulation.setDeviceMetricsOverride', {
          ...{ width, height: 900, deviceScaleFactor: 1 },
          mobile: width < 600,
        });
        await ask('Emulation.setEmulatedMedia', {
          features: [{ name: 'prefers-color-scheme', value: scheme }],
        });
        const loaded = session.event('Page.loadEventFired');
        await ask('Page.navigate', { url });
        await loaded;
        const { result } = await ask('Runtime.evaluate', { returnByValue: true, expression: LOOK });
        const { data } = await ask('Page.captureScreenshot', { captureBeyondViewport: true });
        return {
          ...(result.value as Pick<Seen, 'scrollWidth' | 'text' | 'elements' | 'colour'>),
          complaints: session.complaints,
          screenshot: Buffer.from(data, 'base64'),
        };
      } finally {
        session.close();
        await fetch(`http://${address}/json/close/${id}`);
      }
    },
    async close() {
      const closed = once(child, 'close');
      child.kill('SIGKILL');
      await closed;
      await rm(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

const LOOK = `({
  scrollWidth: document.documentElement.scrollWidth,
  text: document.body.innerText,
  elements: Object.fromEntries(
    ['script', 'img', 'svg', 'mark', 'a'].map((name) => [name, document.querySelectorAll(name).length])),
  colour: getComputedStyle(document.body).backgroundColor,
})`;

async function listeningAt(child: ChildProcess): Promise<string> {
  let said = '';
  return await new Promise((resolve, reject) => {
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      const [, address] = /ws:\/\/([\d.:]+)\//.exec(said) ?? [];
      if (address !== undefined) resolve(address);
    });
    child.once('close', () => reject(new Error(`chromium has ended: ${said}`)));
  });
}

// biome-ignore lint/suspicious/noExplicitAny: the protocol's answers have a shape each
type Answer = any;

async function connect(url: string) {
  const socket = new WebSocket(url);
  const waiting = new Map<number | string, (answer: Answer) => void>();
  const complaints: string[] = [];
  let last = 0;
  socket.addEventListener('message', ({ data }) => {
    const message = JSON.parse(String(data)) as {
      id?: number;
      method?: string;
      result?: unknown;
      params?: Answer;
    };
    if (message.method === 'Log.entryAdded') complaints.push(message.params.entry.text);
    waiting.get(message.id ?? message.method ?? '')?.(message.result ?? message.params);
  });
  await new Promise((resolve, reject) => {
    socket.addEventListener('open', resolve);
    socket.addEventListener('error', reject);
  });
  return {
    complaints,
    ask: (method: string, params: object = {}) => {
      last += 1;
      const id = last;
      return new Promise<Answer>((resolve) => {
        waiting.set(id, resolve);
        socket.send(JSON.stringify({ id, method, params }));
      });
    },
    event: (name: string) => new Promise<Answer>((resolve) => waiting.set(name, resolve)),
    close: () => socket.close(),
  };
}
