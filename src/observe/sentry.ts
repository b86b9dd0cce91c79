// Sentry, where a DSN is set. Each process reports what it saw after it happened, so nothing is held open meanwhile. Only
// numbers, ids and words without secrets leave, since no integration of the SDK collects anything by itself.
import * as http from 'node:http';
import * as https from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NodeOptions, Scope, Span } from '@sentry/node';
import type { Settings } from '../settings.js';
import { describeFailure, logFailure } from './log.js';

/** What a DSN looks like. It is checked first, because the SDK prints one that it cannot use. */
export const DSN = /^https?:\/\/\w+(?::\w+)?@(?:\[[:.%\w]+\]|[\w.-]+)(?::\d+)?\/(?:[\w./-]+\/)?\d+$/;

type SentrySettings = Pick<Settings, 'SENTRY_DSN' | 'SENTRY_TRACES_SAMPLE_RATE' | 'SENTRY_RELEASE'>;

/**
 * A run, as every process that carries it knows it. The trace's id, 32 hex digits in the run's row, decides all that must be
 * the same in each process: the id of the run's span, whether it is sampled, and its check-in.
 */
export interface RunTrace {
  runId: string;
  traceId: string;
}

export interface EndedCall {
  startedAt: number;
  latencyMs: number;
  batchSize: number;
  status: number | null;
  failure: string | null;
  /** As SQL read it from the answer. Only its numbers are reported. */
  cacheStats: Record<string, unknown> | null;
}

export interface FailedBatch {
  batchId: string;
  batchSize: number;
  /** The key of rows_skipped that its rows count as. */
  countedAs: string;
  status: number | null;
  failure: string;
}

export interface CheckIn {
  status: 'in_progress' | 'ok' | 'error';
  /** When runs are planned, as a crontab's five fields in UTC. */
  cron: string;
  maxMinutes: number;
}

export interface Observer {
  /** A POST to LML is over, answered or not. */
  callEnded(run: RunTrace, call: EndedCall): void;
  /** A batch was given up. */
  batchFailed(run: RunTrace, batch: FailedBatch): void;
  /** LML broke its contract in the answer for a batch: how many results, by the key of rows_skipped. */
  protocolDrifted(run: RunTrace, batchId: string, refused: Record<string, number>): void;
  /** A run is over. One process alone reports it. */
  runEnded(run: RunTrace, report: Record<string, unknown>): void;
  /** A scheduled run began or ended. For null, none could be opened. */
  checkedIn(run: RunTrace | null, checkIn: CheckIn): void;
  /** Sends what is left, for two seconds at most. */
  close(): Promise<void>;
}

// Types of the SDK that it does not export by name.
type SpanAttributes = Parameters<Span['setAttributes']>[0];
type StreamedSpan = Parameters<NonNullable<NodeOptions['beforeSendSpan']>>[0];
type HttpModule = NonNullable<NonNullable<NodeOptions['transportOptions']>['httpModule']>;

const RUN_SPAN = 'library-identity-consumer.run';
const CALL_SPAN = 'lml.bulk_resolve_libraries';
const MONITOR = 'library-identity-sync';
const CHECK_IN_MARGIN_MINUTES = 30;
const FLUSH_MS = 2000;

const SILENT: Observer = {
  callEnded() {},
  batchFailed() {},
  protocolDrifted() {},
  runEnded() {},
  checkedIn() {},
  async close() {},
};

/**
 * Starts reporting to Sentry. Without a DSN nothing is sent, and the SDK, 40 MB of memory, is not loaded. Its errors are
 * logged and swallowed, so that observing a run never breaks it.
 */
export async function startSentry(settings: SentrySettings): Promise<Observer> {
  if (!settings.SENTRY_DSN) return SILENT;
  try {
    return await observe(settings.SENTRY_DSN, settings);
  } catch (error) {
    logSentryFailure(error);
    return SILENT;
  }
}

async function observe(dsn: string, settings: SentrySettings): Promise<Observer> {
  if (!DSN.test(dsn)) throw new Error('the DSN is none');
  const sentry = await import('@sentry/node');
  const client = sentry.initWithoutDefaultIntegrations({
    dsn,
    tracesSampleRate: settings.SENTRY_TRACES_SAMPLE_RATE,
    release: settings.SENTRY_RELEASE,
    includeServerName: false,
    sendClientReports: false,
    enableRuntimeChannelInjection: false,
    maxValueLength: 1000,
    beforeSendSpan: identifyRunSpan,
    transportOptions: { httpModule: socketsThatMayBeLeft(dsn) },
  });
  if (!client) throw new Error('the SDK did not start');

  /** Binds a report to the run's trace: below the run's span, or as that span itself. */
  function scopeOf(run: RunTrace, parentSpanId?: string): Scope {
    const scope = new sentry.Scope();
    scope.setClient(client);
    scope.setPropagationContext({
      traceId: run.traceId,
      sampleRand: sampleRandOf(run.traceId),
      ...(parentSpanId && { parentSpanId }),
    });
    return scope;
  }

  function reportSpan(scope: Scope, span: PastSpan): void {
    const { name, op, attributes, startTime } = span;
    const reported = sentry.startInactiveSpan({ name, op, attributes, startTime, scope, parentSpan: null });
    reported.setStatus(span.ok ? { code: 1 } : { code: 2, message: 'internal_error' });
    reported.end(span.endTime);
  }

  /** Errors of one type and kind are one issue, also where their words and numbers differ. */
  function reportError(
    run: RunTrace,
    type: string,
    words: string,
    batchId: string,
    kind: Record<string, string>,
  ) {
    scopeOf(run, spanIdOf(run.traceId)).captureEvent({
      level: 'error',
      exception: { values: [{ type, value: withoutSecrets(words) }] },
      fingerprint: [type, ...Object.values(kind)],
      tags: { run_id: run.runId, batch_id: batchId, ...kind },
    });
  }

  return {
    callEnded: guarded((run, call) => {
      reportSpan(scopeOf(run, spanIdOf(run.traceId)), {
        name: CALL_SPAN,
        op: 'http.client',
        startTime: call.startedAt,
        endTime: call.startedAt + call.latencyMs,
        ok: call.status === 200 && call.failure === null,
        attributes: attributesOf('lml', {
          batch_size: call.batchSize,
          status: call.status,
          failure: call.failure,
          cache: numbersOf(call.cacheStats ?? {}),
        }),
      });
    }),

    runEnded: guarded((run, report) => {
      reportSpan(scopeOf(run), {
        name: RUN_SPAN,
        op: 'job.run',
        startTime: Date.parse(String(report.started_at)),
        endTime: Date.parse(String(report.finished_at)),
        ok: report.outcome === 'completed',
        attributes: attributesOf('consumer', report),
      });
      // Its words to the first colon say what it is about, and what comes then are numbers and names.
      for (const warning of Array.isArray(report.warnings) ? report.warnings.map(String) : []) {
        scopeOf(run, spanIdOf(run.traceId)).captureEvent({
          level: 'warning',
          message: withoutSecrets(warning),
          fingerprint: ['RunWarning', warning.split(':')[0]!],
          tags: { run_id: run.runId },
        });
      }
    }),

    batchFailed: guarded((run, { batchId, batchSize, countedAs, status, failure }) => {
      const kind = { counted_as: countedAs, status: String(status ?? 'none') };
      reportError(run, 'BatchFailed', `${failure} (a batch of ${batchSize})`, batchId, kind);
    }),

    protocolDrifted: guarded((run, batchId, refused) => {
      for (const [kind, results] of Object.entries(refused)) {
        if (results > 0) reportError(run, 'ProtocolDrift', `${results} ${kind}`, batchId, { kind });
      }
    }),

    checkedIn: guarded((run, { status, cron, maxMinutes }) => {
      client.captureCheckIn(
        // The SDK makes an id where there is none.
        { monitorSlug: MONITOR, status, checkInId: run?.traceId ?? '' },
        {
          schedule: { type: 'crontab', value: cron },
          timezone: 'UTC',
          checkinMargin: CHECK_IN_MARGIN_MINUTES,
          maxRuntime: maxMinutes,
        },
        run ? scopeOf(run, spanIdOf(run.traceId)) : undefined,
      );
    }),

    async close() {
      const over = new AbortController();
      const late = sleep(FLUSH_MS, undefined, { signal: over.signal }).catch(() => {});
      await Promise.race([client.close(FLUSH_MS), late]).catch(logSentryFailure);
      over.abort();
    },
  };
}

interface PastSpan {
  name: string;
  op: string;
  startTime: number;
  endTime: number;
  ok: boolean;
  attributes: SpanAttributes;
}

/** Gives a run's span its id from the trace, so that calls can name it as their parent before it is reported. */
function identifyRunSpan(span: StreamedSpan): StreamedSpan {
  if (span.name !== RUN_SPAN) return span;
  const span_id = spanIdOf(span.trace_id);
  return { ...span, span_id, attributes: { ...span.attributes, 'sentry.segment.id': span_id } };
}

const spanIdOf = (traceId: string) => traceId.slice(0, 16);

/** From 0 to 1 by the trace's id alone, so that all processes sample the same runs. */
const sampleRandOf = (traceId: string) => Number.parseInt(traceId.slice(-12), 16) / 16 ** 12;

/** Makes attributes with dotted keys of numbers, flags and words without secrets. Lists are left out. */
function attributesOf(prefix: string, facts: object): SpanAttributes {
  const attributes: SpanAttributes = {};
  for (const [key, fact] of Object.entries(facts)) {
    const name = `${prefix}.${key}`;
    if (typeof fact === 'object' && fact !== null && !Array.isArray(fact))
      Object.assign(attributes, attributesOf(name, fact));
    else if (typeof fact === 'string') attributes[name] = withoutSecrets(fact);
    else if (typeof fact === 'number' || typeof fact === 'boolean') attributes[name] = fact;
  }
  return attributes;
}

const numbersOf = (facts: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(facts).filter(([, fact]) => typeof fact === 'number'));

/** Drops a URL's login, as describeFailure does, and the credentials of an Authorization header. */
function withoutSecrets(words: string): string {
  return describeFailure({ message: words }).message.replaceAll(
    /\b(authorization["']?\s*[:=]\s*["']?(?:\w+\s+)?|bearer\s+)[^\s"',;]+/gi,
    '$1[scrubbed]',
  );
}

/** Makes sockets that do not keep the process alive, so that a silent Sentry does not hold up its end. */
function socketsThatMayBeLeft(dsn: string): HttpModule {
  const { request } = (new URL(dsn).protocol === 'https:' ? https : http) as HttpModule;
  return {
    request: (options, onResponse) => request(options, onResponse).on('socket', (socket) => socket.unref()),
  };
}

/** Swallows and logs errors, so that observing a run never breaks it. */
function guarded<Facts extends unknown[]>(report: (...facts: Facts) => void): (...facts: Facts) => void {
  return (...facts) => {
    try {
      report(...facts);
    } catch (error) {
      logSentryFailure(error);
    }
  };
}

function logSentryFailure(error: unknown): void {
  logFailure('warn', { step: 'sentry' }, 'a report to Sentry failed; the work goes on', error);
}
