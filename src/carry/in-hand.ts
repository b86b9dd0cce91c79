// How many bytes of answers a process has in hand, from LML's socket until the database has taken them.

// Beside the eldest answer, which may be as large as any.
const SHARED_BYTES = 40_000_000;

/** What one answer holds. */
export interface Share {
  /** Resolves as soon as there is room for so many bytes more. */
  take(bytes: number, signal: AbortSignal): Promise<void>;
  /** Gives so many bytes back, or all. */
  giveBack(bytes?: number): void;
}

interface Holder {
  bytes: number;
  wanted: { bytes: number; go: () => void } | null;
}

/**
 * Bounds the bytes in hand: all answers but the eldest share so many, and those that find no room wait in the order in which
 * they came. The eldest never waits, so that answers that are read by halves cannot wait for one another.
 */
export class InHand {
  /** The eldest first. */
  readonly #holders = new Set<Holder>();

  constructor(readonly sharedBytes = SHARED_BYTES) {}

  /** All that is held now. */
  get bytes(): number {
    return sumOf([...this.#holders]);
  }

  open(): Share {
    const holder: Holder = { bytes: 0, wanted: null };
    this.#holders.add(holder);
    return {
      take: (bytes, signal) =>
        new Promise((resolve, reject) => {
          const giveUp = () => reject(signal.reason);
          if (signal.aborted) return giveUp();
          signal.addEventListener('abort', giveUp, { once: true });
          const go = () => {
            signal.removeEventListener('abort', giveUp);
            resolve();
          };
          holder.wanted = { bytes, go };
          this.#grant();
        }),
      giveBack: (bytes = holder.bytes) => {
        holder.bytes -= bytes;
        if (holder.bytes === 0) this.#holders.delete(holder);
        this.#grant();
      },
    };
  }

  #grant(): void {
    const [eldest, ...others] = this.#holders;
    let shared = sumOf(others);
    for (const holder of this.#holders) {
      if (holder.wanted === null) continue;
      const { bytes, go } = holder.wanted;
      if (holder !== eldest) {
        if (shared + bytes > this.sharedBytes) return;
        shared += bytes;
      }
      holder.bytes += bytes;
      holder.wanted = null;
      go();
    }
  }
}

const sumOf = (holders: Holder[]): number => holders.reduce((sum, { bytes }) => sum + bytes, 0);
