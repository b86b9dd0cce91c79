// The database's side of the health server: what is wrong is decided in SQL.
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { openSession, type Sql } from '../database/connect.js';
import { longestSilence } from '../database/line.js';
import type { PageSettings } from '../screens/page/read.js';
import type { SettingsOf } from '../settings.js';
import { logFailure } from './log.js';
import { type Counted, createMetrics, rested } from './metrics.js';

/** Whether a part is well, how old it is, and its limit. */
export interface Finding {
  ok: boolean;
  [detail: string]: unknown;
}

export interface Probes {
  health(): Promise<Finding>;
  readiness(): Promise<Finding>;
  metrics(): Promise<{ contentType: string; text: string }>;
  /** How things stand as HTML; null where no page is served. */
  page(): Promise<Page | null>;
}

export interface Page {
  ok: boolean;
  text: string;
}

export type ProbeSettings = PageSettings &
  Pick<SettingsOf<'worker'>, 'STATUS_PAGE' | 'LML_TIMEOUT_MS' | 'THROTTLE_MS'> & {
    /** The hashes of the migrations that this program brings. */
    migrations: string[];
    /** How old the last successful run may be. */
    maxAgeHours: number;
  };

const PROBE_MS = 2000;
const COUNT_MS = 10_000;

// The page reads more than a scrape, and a person waits for it.
const PAGE_MS = 30_000;

// The page counts the whole catalogue, and may be reloaded by all who reach the port.
const KEEP_PAGE_MS = 15_000;

// Time beyond two calls and the pause between them, in which a dead process's lease and growing pauses end.
const SILENCE_MARGIN_MS = 60_000;

/**
 * Opens the probes on sessions of their own, so that none waits behind the work. A database that does not answer in time
 * is a finding, never an error.
 */
export function connectProbes(databaseUrl: string, settings: ProbeSettings) {
  const processStarted = new Date(performance.timeOrigin).toISOString();
  const prober = connectAsker(databaseUrl, PROBE_MS);
  const counter = connectAsker(databaseUrl, COUNT_MS);
  const pager = connectAsker(databaseUrl, PAGE_MS);
  const silenceMs = 2 * settings.LML_TIMEOUT_MS + settings.THROTTLE_MS + SILENCE_MARGIN_MS;

  const metrics = createMetrics(() =>
    counter.ask(async (sql) => {
      const [row] = await sql<[{ counted: Counted }]>`
        select identity_metrics as counted from identity_sync.identity_metrics(
          stale_days => ${settings.STALE_THRESHOLD_DAYS}, unresolved_retry_days => ${settings.UNRESOLVED_RETRY_DAYS},
          include_null_canonical => ${settings.INCLUDE_NULL_CANONICAL})`;
      return row.counted;
    }),
  );

  let kept: (Page & { until: number }) | null = null;

  async function page(): Promise<Page | null> {
    if (!settings.STATUS_PAGE) return null;
    const askedAt = performance.now();
    if (kept && askedAt < kept.until) return kept;
    try {
      const { readPage } = await import('../screens/page/read.js');
      const text = await pager.ask((sql) => readPage(sql, settings));
      kept = { ok: true, text, until: rested(askedAt, KEEP_PAGE_MS) };
    } catch (error) {
      logFailure('warn', { step: 'page' }, 'the page could not be made', error);
      const text = `the database could not be asked: ${reasonOf(error)}\n`;
      kept = { ok: false, text, until: rested(askedAt, 0) };
    }
    return kept;
  }

  async function health(): Promise<Finding> {
    // The sessions that do the work may be dead where a new one gets an answer.
    const silentMs = longestSilence();
    if (silentMs !== null) {
      const reason = `a query has waited for its answer for ${Math.round(silentMs / 1000)} s`;
      return { ok: false, database: { ok: false, reason } };
    }
    try {
      const found = await prober.ask(async (sql) => {
        const [row] = await sql<[{ found: { last_success: Finding; lanes: Finding } }]>`
          select found from identity_sync.identity_health(
            max_age => ${`${settings.maxAgeHours} hours`}, max_silence => ${`${silenceMs} ms`},
            process_started_at => ${processStarted}::text::timestamptz) as found`;
        return row.found;
      });
      return { ok: found.last_success.ok && found.lanes.ok, database: { ok: true }, ...found };
    } catch (error) {
      return { ok: false, database: { ok: false, reason: reasonOf(error) } };
    }
  }

  async function readiness(): Promise<Finding> {
    try {
      const schema = await prober.ask(async (sql) => {
        const [{ missing }] = await sql<[{ missing: number }]>`
          select missing from identity_sync.missing_migrations(known => ${settings.migrations}) as missing`;
        // A database that lacks migrations may lack the function that looks for columns.
        if (missing > 0) return { ok: false, missing };
        const [{ lost }] = await sql<
          [{ lost: string[] }]
        >`select lost from identity_sync.lost_columns() as lost`;
        return lost.length > 0 ? { ok: false, missing, lost_columns: lost.length } : { ok: true, missing };
      });
      return { ok: schema.ok, database: { ok: true }, schema };
    } catch (error) {
      const reason = reasonOf(error);
      if (!NO_SCHEMA.has(reason)) return { ok: false, database: { ok: false, reason } };
      return { ok: false, database: { ok: true }, schema: { ok: false, reason } };
    }
  }

  return {
    health: oneAtATime(health),
    readiness: oneAtATime(readiness),
    metrics: oneAtATime(metrics.scrape),
    page: oneAtATime(page),
    observeCall: metrics.observeCall,
    async close(): Promise<void> {
      await Promise.all([prober.close(), counter.close(), pager.close()]);
    },
  } satisfies Probes & Record<string, unknown>;
}

// SQLSTATEs of a database that answers, but was never migrated or does not show its migrations to this login.
const NO_SCHEMA = new Set(['42P01', '42883', '3F000', '42501']);

class NoAnswer extends Error {}

/**
 * Asks the database within a bound. A session that broke or did not answer is dropped, its query cancelled, and the next
 * question opens another: a probe must not wait for the trouble of the last one.
 */
function connectAsker(databaseUrl: string, withinMs: number) {
  let session: postgres.Sql | null = null;
  const options = { patienceMs: withinMs, applicationName: 'identity-sync health', cancels: true };
  const open = () => openSession(databaseUrl, options);

  return {
    async ask<Result>(question: (sql: Sql) => Promise<Result>): Promise<Result> {
      session ??= open();
      const asked = session;
      const answered = new AbortController();
      const late = sleep(withinMs, undefined, { signal: answered.signal }).then(() => {
        throw new NoAnswer(`no answer within ${withinMs} ms`);
      });
      try {
        return await Promise.race([question(asked), late]);
      } catch (error) {
        // A session that reports an error still works.
        if (!(error instanceof postgres.PostgresError)) {
          if (session === asked) session = null;
          asked.end({ timeout: 0 }).catch(() => {});
        }
        throw error;
      } finally {
        late.catch(() => {});
        answered.abort();
      }
    },
    async close(): Promise<void> {
      await session?.end({ timeout: 1 });
    },
  };
}

/** Names a failure by its code alone, since the port is open to all who reach it. */
function reasonOf(error: unknown): string {
  if (error instanceof NoAnswer) return error.message;
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? code : 'it could not be asked';
}

/** Callers at the same time share one question and its answer. */
function oneAtATime<Result>(ask: () => Promise<Result>): () => Promise<Result> {
  let underWay: Promise<Result> | null = null;
  return () => {
    underWay ??= ask().finally(() => {
      underWay = null;
    });
    return underWay;
  };
}
