// The way from this process to a PostgreSQL server, for both drivers: how it is found, encrypted and given up.
import { connect as connectSocket, isIP, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import type { Address } from './address.js';

/** A line that could not be made, or was lost. */
export class LineFault extends Error {
  constructor(
    message: string,
    readonly code: string,
    /** Whether a server may be there in a moment; otherwise the configuration is at fault. */
    readonly isAway = true,
  ) {
    super(message);
  }
}

const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);
const CANCEL_REQUEST = Buffer.from([0, 0, 0, 16, 4, 210, 22, 46]);

// Types of messages: ReadyForQuery ends each answer, BackendKeyData says what cancels one, and Terminate is no question.
const READY = 0x5a;
const BACKEND_KEY = 0x4b;
const TERMINATE = 0x58;

/** A message begins with its type and, in four bytes, its length without the type. */
const HEAD_BYTES = 5;

/** The head of a BackendKeyData with the session's process and its secret. */
const KEY_BYTES = HEAD_BYTES + 8;

const KEEP_ALIVE_MS = 30_000;

const FAREWELL_MS = 1000;

const lines = new Set<Line>();

/**
 * How long the longest question of this process has been waiting beyond a half of its patience, in milliseconds, or null.
 * All work waits on these lines, so a probe needs no session to see that they are dead.
 */
export function longestSilence(): number | null {
  const waits = [...lines].filter((line) => line.waitedMs > line.patienceMs / 2).map((line) => line.waitedMs);
  return waits.length > 0 ? Math.max(...waits) : null;
}

/**
 * One session's bytes. It fails where the server says nothing for `patienceMs` while a question is open, so that no query
 * waits for ever; and any end that the driver did not ask for is an error.
 */
export class Line extends Duplex {
  #socket: Socket | null = null;
  #isReady = false;
  #askedAt: number | null = null;
  #timer: NodeJS.Timeout | undefined;
  /** The bytes that are still to come of the message before, and the head of one that is not whole yet. */
  #restOfMessage = 0;
  readonly #head: number[] = [];
  #key: Buffer | null = null;
  #begin = () => {};
  readonly #connected = new Promise<void>((resolve) => {
    this.#begin = resolve;
  });

  constructor(
    readonly address: Address,
    readonly patienceMs: number,
    /** Whether the server is told to stop what is given up here: for what only reads, since a write may still succeed. */
    readonly cancels = false,
  ) {
    super();
    lines.add(this);
  }

  /** What postgres.js asks before it ends a socket. */
  get readyState(): 'open' | 'closed' {
    return this.destroyed || this.writableEnded ? 'closed' : 'open';
  }

  /** Since when a question is without an answer. */
  get waitedMs(): number {
    return this.#askedAt === null ? 0 : performance.now() - this.#askedAt;
  }

  /** Called by pg; postgres.js gets a line that is connecting already. What is written meanwhile waits. */
  connect(): this {
    this.#open().then(
      (socket) => {
        if (this.destroyed) return void socket.destroy();
        this.#socket = socket;
        socket.setKeepAlive(true, KEEP_ALIVE_MS);
        socket
          .on('data', (bytes) => this.#receive(bytes))
          .on('error', (error) => this.destroy(this.#lost(error)));
        socket.on('close', () => this.destroy(this.writableEnded ? undefined : this.#lost()));
        this.#begin();
        this.emit('connect');
      },
      (error) => this.destroy(error),
    );
    return this;
  }

  override _write(bytes: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.#connected.then(() => {
      if (this.#askedAt === null && bytes[0] !== TERMINATE) this.#wait();
      this.#socket?.write(bytes, () => done());
    });
  }

  /** What a driver writes at once travels at once. */
  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), 'buffer', done);
  }

  override _read(): void {
    this.#socket?.resume();
  }

  override _final(done: () => void): void {
    this.#giveUp();
    if (this.#socket === null) done();
    else this.#socket.end(done);
    setTimeout(() => this.destroy(), FAREWELL_MS).unref();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#giveUp();
    lines.delete(this);
    this.#socket?.destroy();
    done(error);
  }

  setNoDelay(): this {
    return this;
  }

  setKeepAlive(): this {
    return this;
  }

  ref(): void {
    this.#socket?.ref();
  }

  unref(): void {
    this.#socket?.unref();
  }

  #receive(bytes: Buffer): void {
    // Neither driver asks a second question before the first is answered.
    if (this.#endsAnAnswer(bytes)) {
      this.#isReady = true;
      this.#answered();
    } else if (this.#askedAt !== null) this.#wait();
    if (!this.push(bytes)) this.#socket?.pause();
  }

  /** Whether a ReadyForQuery is among these bytes, be it cut in two or followed by a notification. */
  #endsAnAnswer(bytes: Buffer): boolean {
    let hasReady = false;
    let at = this.#restOfMessage;
    const head = this.#head;
    while (at < bytes.length) {
      const missing = (head[0] === BACKEND_KEY ? KEY_BYTES : HEAD_BYTES) - head.length;
      if (missing > 0) {
        head.push(...bytes.subarray(at, at + missing));
        at = Math.min(at + missing, bytes.length);
        continue;
      }
      if (head[0] === READY) hasReady = true;
      if (head[0] === BACKEND_KEY) this.#key = Buffer.from(head.slice(HEAD_BYTES));
      at += 1 + Buffer.from(head).readUInt32BE(1) - head.length;
      head.length = 0;
    }
    this.#restOfMessage = Math.max(0, at - bytes.length);
    return hasReady;
  }

  #wait(): void {
    this.#answered();
    this.#askedAt = performance.now();
    const withinMs = this.#isReady ? this.patienceMs : this.address.connectMs;
    this.#timer = setTimeout(() => {
      this.destroy(new LineFault(`${this.#where} did not answer within ${withinMs / 1000} s`, 'NO_ANSWER'));
    }, withinMs).unref();
  }

  #answered(): void {
    clearTimeout(this.#timer);
    this.#askedAt = null;
  }

  /** Ends the wait for an answer, and the server's work on it where that is wanted and the server is still there. */
  #giveUp(): void {
    const isOpen = this.#askedAt !== null && this.#socket?.destroyed === false;
    this.#answered();
    if (!this.cancels || !isOpen || this.#key === null) return;
    const request = Buffer.concat([CANCEL_REQUEST, this.#key]);
    // A line of its own, and the server says nothing on it.
    this.#open().then(
      (socket) => socket.end(request, () => socket.destroy()),
      () => {},
    );
  }

  get #where(): string {
    return `the database ${placeOf(this.address)}`;
  }

  #lost(error?: Error): LineFault {
    const code = (error as { code?: string } | undefined)?.code ?? 'CONNECTION_CLOSED';
    return new LineFault(`${this.#where} has closed the connection (${code})`, code);
  }

  /** Connects, and agrees on TLS. All of it ends within the time that the address allows. */
  #open(): Promise<Socket> {
    const { host, port, socket: path, connectMs, setting, tls } = this.address;
    const socket = path === null ? connectSocket({ host, port, noDelay: true }) : connectSocket({ path });
    return new Promise<Socket>((resolve, reject) => {
      let isOver = false;
      const fail = (message: string, code: string, isAway = true) => {
        if (isOver) return;
        isOver = true;
        clearTimeout(late);
        socket.destroy();
        reject(new LineFault(`${message} (${code}). ${setting} says where it is.`, code, isAway));
      };
      const late = setTimeout(
        () => fail(`${this.#where} does not answer within ${connectMs / 1000} s`, 'CONNECT_TIMEOUT'),
        connectMs,
      );
      const ready = (connected: Socket) => {
        isOver = true;
        clearTimeout(late);
        resolve(connected);
      };
      socket.on('error', (error) => fail(this.#whyUnreached(error), codeOf(error)));
      socket.once('close', () => fail(`${this.#where} has closed the connection`, 'CONNECTION_CLOSED'));
      socket.once('connect', () => {
        if (tls === null) return ready(socket);
        socket.write(SSL_REQUEST);
        socket.once('data', (answer) => {
          // One byte and no more: what came with it in plain text could be anybody's.
          if (answer.toString('latin1') === 'N' && tls.mode === 'prefer') return ready(socket);
          if (answer.toString('latin1') === 'N')
            return fail(`${this.#where} has no TLS, which sslmode=${tls.mode} asks for`, 'NO_TLS', false);
          if (answer.toString('latin1') !== 'S')
            return fail(`${this.#where} answers, but not as PostgreSQL does`, 'NO_POSTGRESQL');
          const secured = connectTls({
            socket,
            host,
            ...(isIP(host) === 0 && { servername: host }),
            ...(tls.ca !== null && tls.ca !== 'system' && { ca: tls.ca }),
            cert: tls.cert,
            key: tls.key,
            rejectUnauthorized: tls.mode.startsWith('verify'),
            ...(tls.mode !== 'verify-full' && { checkServerIdentity: () => undefined }),
          });
          secured.once('secureConnect', () => ready(secured));
          secured.on('error', (error) =>
            fail(this.#whyUntrusted(error, tls.caFrom), codeOf(error), /^E[A-Z]+$/.test(codeOf(error))),
          );
        });
      });
    });
  }

  #whyUnreached(error: Error): string {
    const { host, socket } = this.address;
    const code = codeOf(error);
    if (code === 'ENOTFOUND') return `the host ${host} of the database is not known`;
    if (code === 'EAI_AGAIN') return `the host ${host} of the database cannot be looked up now`;
    if (code === 'ENOENT') return `no database has its socket at ${socket}`;
    if (code === 'ECONNREFUSED') return `no database listens ${placeOf(this.address)}`;
    return `${this.#where} cannot be reached`;
  }

  #whyUntrusted(error: Error, caFrom: string): string {
    const code = codeOf(error);
    if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
      return `the certificate of ${this.#where} is for another name, which sslmode=verify-full does not take`;
    if (code === 'CERT_HAS_EXPIRED') return `the certificate of ${this.#where} has expired`;
    if (/CERT|SIGNATURE|ISSUER/.test(code))
      return `the certificate of ${this.#where} is not signed by whom ${caFrom} names`;
    return `TLS with ${this.#where} failed`;
  }
}

const codeOf = (error: Error) => (error as { code?: string }).code ?? error.name;

/** Drops all lines of this process, whatever is asked on them: it is about to end. */
export function dropLines(): void {
  for (const line of lines) line.destroy();
}

/** Where a database is, for messages. */
export function placeOf({ host, port, socket }: Address): string {
  return `at ${socket ?? `${isIP(host) === 6 ? `[${host}]` : host}:${port}`}`;
}
