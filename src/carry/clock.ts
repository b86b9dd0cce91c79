/** The time of one call, which stands still while it is stopped. */
export class Clock {
  readonly #over = new AbortController();
  #elapsedMs = 0;
  #startedAt: number | null = null;
  #timer: NodeJS.Timeout | undefined;

  constructor(readonly timeoutMs: number) {
    this.start();
  }

  /** Aborted once the time is over. */
  get isOver(): AbortSignal {
    return this.#over.signal;
  }

  start(): void {
    this.#startedAt = performance.now();
    this.#timer = setTimeout(
      () => this.#over.abort(new DOMException('the time of the call is over', 'TimeoutError')),
      this.timeoutMs - this.#elapsedMs,
    );
  }

  /** Returns the milliseconds that have passed. */
  stop(): number {
    clearTimeout(this.#timer);
    if (this.#startedAt !== null) this.#elapsedMs += performance.now() - this.#startedAt;
    this.#startedAt = null;
    return this.#elapsedMs;
  }
}
