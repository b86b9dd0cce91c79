// Metrics for Prometheus: what the tables count, the same from every process, and how long this process's calls took.
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { VERSION } from '../version.js';
import { logFailure } from './log.js';

/** What identity_metrics returns. */
export interface Counted {
  totals: Record<keyof typeof TOTALS, Record<string, number>>;
  due_rows: Record<string, number>;
  open_batches: Record<string, number>;
  calls_in_flight: number;
  quarantined: Record<string, number>;
  planning_holds: Record<string, number>;
  runs: Record<string, number>;
  last_run: { outcome: string; duration_seconds: number } | null;
  last_success_age_seconds: number | null;
}

export interface Metrics {
  observeCall(latencyMs: number, status: number | null): void;
  scrape(): Promise<{ contentType: string; text: string }>;
}

const TOTALS = {
  rows: 'Library rows asked about, by outcome; they add up to all that was scanned.',
  source_rows:
    'Source rows of verdicts that were left out, or written though unknown or outside the band of their method.',
  identity: 'Identities that verdicts wrote or confirmed.',
  source: 'Source rows that verdicts wrote, confirmed or removed.',
  compilation_track: 'Track credits of compilations, by what became of them; some keys are parts of others.',
};

// Counting reads every settlement and every library row: cheap once, but not on every scrape of every process.
const KEEP_MS = 30_000;

/** A question that reads the catalogue rests for so many times as long as it took, whether it was answered or not. */
const REST_FACTOR = 20;

/** When such a question may be asked again. */
export const rested = (askedAt: number, leastMs: number): number => {
  const now = performance.now();
  return now + Math.max(leastMs, REST_FACTOR * (now - askedAt));
};

/**
 * Makes a process's metrics. `read` counts in the database, at most every 30 s. While it cannot, its metrics are absent and
 * `identity_sync_database_up` is 0, since a number that stands still would look like health.
 */
export function createMetrics(read: () => Promise<Counted>): Metrics {
  const calls = new Registry();
  const duration = new Histogram({
    name: 'identity_sync_lml_call_duration_seconds',
    help: 'How long the calls of this process to LML took, by HTTP status; none: no answer came.',
    labelNames: ['status'],
    buckets: [0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300, 600],
    registers: [calls],
  });
  new Gauge({
    name: 'identity_sync_build_info',
    help: 'Always 1; its label says which version of the program this process runs.',
    labelNames: ['version'],
    registers: [calls],
  }).set({ version: VERSION }, 1);
  let kept: { text: string; until: number } | null = null;

  async function countInDatabase(): Promise<string> {
    const askedAt = performance.now();
    if (kept && askedAt < kept.until) return kept.text;
    try {
      const text = await textOf(await read());
      kept = { text, until: rested(askedAt, KEEP_MS) };
    } catch (error) {
      logFailure('warn', { step: 'metrics' }, 'the database could not be counted', error);
      kept = { text: await textOf(null), until: rested(askedAt, 0) };
    }
    return kept.text;
  }

  return {
    observeCall(latencyMs, status) {
      duration.observe({ status: status ?? 'none' }, latencyMs / 1000);
    },
    async scrape() {
      return { contentType: calls.contentType, text: (await countInDatabase()) + (await calls.metrics()) };
    },
  };
}

/** Writes a count in a registry of its own, so that no label of an earlier count is left in it. */
async function textOf(counted: Counted | null): Promise<string> {
  const registry = new Registry();
  const registers = [registry];
  const gauge = (name: string, help: string, value: number) =>
    new Gauge({ name: `identity_sync_${name}`, help, registers }).set(value);
  const gauges = (name: string, help: string, label: string, values: Record<string, number>) => {
    const labelled = new Gauge({ name: `identity_sync_${name}`, help, labelNames: [label], registers });
    for (const [value, count] of Object.entries(values)) labelled.set({ [label]: value }, count);
  };

  gauge(
    'database_up',
    'Whether the database could be counted; 0: every metric but the calls is absent.',
    counted ? 1 : 0,
  );
  if (counted) {
    for (const [kind, help] of Object.entries(TOTALS)) {
      const total = new Counter({
        name: `identity_sync_${kind}_total`,
        help,
        labelNames: ['key'],
        registers,
      });
      const values = counted.totals[kind as keyof typeof TOTALS];
      for (const [key, count] of Object.entries(values)) total.inc({ key }, count);
    }
    gauges('due_rows', 'Library rows that a run would ask about now.', 'cohort', counted.due_rows);
    gauges('open_batches', 'Unfinished batches of open runs, by state.', 'state', counted.open_batches);
    gauges(
      'quarantined_verdicts',
      'Verdicts in quarantine that are still open.',
      'outcome',
      counted.quarantined,
    );
    gauge('lml_calls_in_flight', 'Calls to LML under way, over all processes.', counted.calls_in_flight);
    gauges(
      'planning_hold',
      '1 where the cron plans nothing until a person has acted, by the hold that keeps it.',
      'hold',
      counted.planning_holds,
    );
    const runs = new Counter({
      name: 'identity_sync_runs_total',
      help: 'Real runs that are over, by outcome.',
      labelNames: ['outcome'],
      registers,
    });
    for (const [outcome, number] of Object.entries(counted.runs)) runs.inc({ outcome }, number);
    if (counted.last_run !== null) {
      const { outcome: last, duration_seconds: seconds } = counted.last_run;
      const outcomes = Object.keys(counted.runs).map((outcome) => [outcome, outcome === last ? 1 : 0]);
      gauges(
        'last_run_outcome',
        'How the last real run over the catalogue ended: 1 for its outcome, 0 for the others.',
        'outcome',
        Object.fromEntries(outcomes),
      );
      gauge('last_run_duration_seconds', 'How long the last real run over the catalogue took.', seconds);
    }
    if (counted.last_success_age_seconds !== null) {
      gauge(
        'last_success_age_seconds',
        'Time since the last successful run over the catalogue ended; absent where there never was one.',
        counted.last_success_age_seconds,
      );
    }
  }
  return await registry.metrics();
}
