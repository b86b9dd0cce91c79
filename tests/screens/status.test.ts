// `status` as a person sees it: an empty, a running and a sick database, at the narrowest and at a wide terminal.
import { describe, expect, test } from 'vitest';
import { widthOf } from '../../src/screens/format.js';
import { type EndedRun, type Status, statusScreen, type Ticks } from '../../src/screens/status.js';

const AT = '2026-11-28T03:24:00+00:00';
const ticks: Ticks = new Map([['17 3 * * *', new Date('2026-11-29T03:17:00Z')]]);
const nothingDue = { never_asked: 0, released: 0, renamed: 0, stale: 0, in_vain: 0 };

const empty: Status = {
  at: AT,
  planning: { holds: [], crons: [], last_success_at: null },
  open_runs: [],
  runs: [],
  workers: [],
  lml: {
    calls_in_flight: 0,
    concurrency: null,
    recent_calls: 0,
    recent_failures: 0,
    p50_ms: null,
    p95_ms: null,
    last_answer: null,
  },
  catalogue: {
    ...{ rows: 64676, identified: 0, due: 64673, fresh: 0, waiting: 0, held: 0, not_canonical: 0 },
    ...{ not_on_discogs: 0, no_name: 3, unknown_age: 0 },
    due_by_reason: { ...nothingDue, never_asked: 64673 },
  },
  quarantine: { entries: 0, by_reason: [] },
  coverage: {},
  gate: {
    ...{ truly_unresolved: 64676, allowed: 1000 },
    ...{
      no_name: 3,
      not_on_discogs: 0,
      compilation: 0,
      unresolved: 0,
      refused: 0,
      never_asked: 64673,
      other: 0,
    },
    is_complete: false,
  },
};

const known: Pick<Status, 'catalogue' | 'coverage' | 'gate'> = {
  catalogue: {
    ...{
      rows: 64676,
      identified: 31303,
      due: 8240,
      fresh: 41018,
      waiting: 15373,
      held: 37,
      not_canonical: 0,
    },
    ...{ not_on_discogs: 5, no_name: 3, unknown_age: 2 },
    due_by_reason: { never_asked: 96, released: 0, renamed: 42, stale: 8102, in_vain: 0 },
  },
  coverage: {
    composed: {
      libraries: 31303,
      share: 0.484,
      methods: { name_variation: 3443, cross_source_agreement: 19095, exact_match: 6887, llm: 1878 },
    },
    deezer: { libraries: 21, share: 0.0003, methods: { exact_match: 21 } },
    discogs: { libraries: 30397, share: 0.47, methods: { exact_match: 30397 } },
    musicbrainz: { libraries: 25224, share: 0.39, methods: { exact_match: 25224 } },
  },
  gate: {
    ...{ truly_unresolved: 7412, allowed: 1000 },
    ...{
      no_name: 0,
      not_on_discogs: 0,
      compilation: 6178,
      unresolved: 1102,
      refused: 36,
      never_asked: 96,
      other: 0,
    },
    is_complete: false,
  },
};

const yesterday = {
  ...{
    run_id: 211,
    scope: 'due',
    dry_run: false,
    outcome: 'completed',
    outcome_reason: null,
    stop_cause: null,
  },
  ...{ finished_at: '2026-11-27T03:24:00+00:00', planned: 9113, scanned: 9113 },
  ...{ new: 41, changed: 12, confirmed: 8631, unresolved: 388, refused: 0, left: 0 },
};

const running: Status = {
  ...empty,
  ...known,
  planning: { holds: [], crons: ['17 3 * * *'], last_success_at: '2026-11-27T03:24:00+00:00' },
  open_runs: [
    {
      ...{
        run_id: 212,
        scope: 'due',
        dry_run: false,
        stop_reason: null,
        planned: 9240,
        done: 4711,
        failed: 0,
      },
      ...{ rows_per_second: 318.2, seconds_left: 14, calls_in_flight: 2 },
      waits: [
        { kind: 'pause', until: '2026-11-28T03:24:40+00:00', what: 'LML asked for a pause (429)' },
        { kind: 'lease', until: null, what: '1 in the hands of station-2:88, which is silent' },
      ],
    },
  ],
  runs: [yesterday],
  workers: [
    { name: 'station-1:4711', version: '0.1.0', plan_cron: '17 3 * * *', is_alive: true, seen_at: AT },
    { name: 'station-2:88', version: '0.1.0', plan_cron: '17 3 * * *', is_alive: false, seen_at: AT },
  ],
  lml: {
    ...{
      calls_in_flight: 2,
      concurrency: 2,
      recent_calls: 100,
      recent_failures: 0,
      p50_ms: 1800,
      p95_ms: 2600,
    },
    last_answer: { at: '2026-11-28T03:23:58+00:00', http_status: 200, failure: null },
  },
};

const sick: Status = {
  ...running,
  planning: {
    ...running.planning,
    crons: [],
    holds: [
      {
        name: 'brake',
        reason: 'run 212: 26 % of the last 1,000 identities came back as another artist\u001b[2J',
        run_id: 212,
        since: '2026-11-28T03:21:00+00:00',
        ends_at: null,
        cures: [
          { purpose: 'look', command: 'identity-sync diff --run 212' },
          { purpose: 'take back', command: 'identity-sync undo --run 212' },
          { purpose: 'when LML is well', command: 'identity-sync run' },
          { purpose: 'where its answers are right', command: 'identity-sync run --accept changed' },
        ],
      },
    ],
  },
  open_runs: [],
  runs: [
    {
      ...yesterday,
      ...{ run_id: 212, outcome: 'stopped', stop_cause: 'brake', finished_at: '2026-11-28T03:21:00+00:00' },
      ...{ planned: 9240, scanned: 1000, new: 0, changed: 261, confirmed: 739, unresolved: 0, left: 8240 },
    },
    yesterday,
  ],
  workers: [
    {
      ...{ name: 'station-1:4711', version: '0.1.0', plan_cron: '17 3 * * *', is_alive: false },
      seen_at: '2026-11-28T01:20:00+00:00',
    },
  ],
  quarantine: {
    entries: 14,
    by_reason: [
      { outcome: 'invalid_verdict', field: 'main.discogs_artist_id', sqlstate: null, entries: 12 },
      { outcome: 'writer_error', field: null, sqlstate: '23514', entries: 2 },
    ],
  },
  lml: {
    ...{
      calls_in_flight: 0,
      concurrency: null,
      recent_calls: 100,
      recent_failures: 7,
      p50_ms: 1800,
      p95_ms: 29_000,
    },
    last_answer: { at: '2026-11-28T03:21:00+00:00', http_status: null, failure: 'no answer in 30 s' },
  },
};

const screen = (status: Status, width: number) => `\n${statusScreen(status, ticks, width).join('\n')}\n`;

describe('an empty database', () => {
  test('at 60 columns', () => {
    expect(screen(empty, 60)).toMatchInlineSnapshot(`
      "
      nothing has been written yet: identity-sync run

      RUNS      none has ended
                no next tick: start identity-sync worker
                no run has succeeded yet

      WORKERS   none alive · 0 calls in flight
      LML       never asked

      CATALOGUE 64,676 rows
                due now 64,673: 64,673 never asked
                fresh 0 · no artist name 3
                identified 0 %

      GATE      open: 64,676 truly unresolved, 1,000 allowed
                64,673 never asked · 3 no artist name
      "
    `);
  });
  test('at 200 columns', () => {
    expect(screen(empty, 200)).toMatchInlineSnapshot(`
      "
      nothing has been written yet: identity-sync run

      RUNS      none has ended
                no next tick: start identity-sync worker · no run has succeeded yet

      WORKERS   none alive · 0 calls in flight
      LML       never asked

      CATALOGUE 64,676 rows
                due now 64,673: 64,673 never asked
                fresh 0 · no artist name 3
                identified 0 %

      GATE      open: 64,676 truly unresolved, 1,000 allowed
                64,673 never asked · 3 no artist name
      "
    `);
  });
});

describe('a run is open', () => {
  test('at 60 columns', () => {
    expect(screen(running, 60)).toMatchInlineSnapshot(`
      "
      all is well: nothing needs you

      OPEN      212 due  ████████░░░░░░░░ 51 %
                4,711 of 9,240 rows · 318 rows/s · 14 s left
                2 calls in flight
                waits: LML asked for a pause (429), until
                2026-11-28 03:24 UTC (in 40 s)
                waits: 1 in the hands of station-2:88, which is
                silent

      RUNS      run  scope  outcome    ended     changed  refused
                211  due    completed  24 h ago       12        0
                next tick 2026-11-29 03:17 UTC, in 24 h
                cron 17 3 * * *
                last success 2026-11-27 03:24 UTC, 24 h ago

      WORKERS   1 alive: station-1:4711 0.1.0
                2 of 2 calls in flight
      LML       last answer just now (200) · p50 1.8 s, p95 2.6 s

      CATALOGUE 64,676 rows
                due now 8,240: 8,102 stale · 96 never asked
                42 renamed
                fresh 41,018 · in vain, waiting 15,373
                held by hand 37 · not on Discogs 5
                no artist name 3 · of unknown age 2
                identified 48.4 % · cross_source_agreement 61 %
                exact_match 22 % · name_variation 11 % · llm 6 %
                discogs 47 % · musicbrainz 39 % · deezer < 0.1 %

      GATE      open: 7,412 truly unresolved, 1,000 allowed
                6,178 compilations (never have an identity)
                1,102 unresolved · 96 never asked · 36 refused
      "
    `);
  });
  test('at 200 columns', () => {
    expect(screen(running, 200)).toMatchInlineSnapshot(`
      "
      all is well: nothing needs you

      OPEN      212 due  ████████░░░░░░░░ 51 % · 4,711 of 9,240 rows · 318 rows/s · 14 s left · 2 calls in flight
                waits: LML asked for a pause (429), until 2026-11-28 03:24 UTC (in 40 s)
                waits: 1 in the hands of station-2:88, which is silent

      RUNS      run  scope  outcome    ended      rows  changed  new  confirmed  unresolved  refused  left
                211  due    completed  24 h ago  9,113       12   41      8,631         388        0     0
                next tick 2026-11-29 03:17 UTC, in 24 h · cron 17 3 * * * · last success 2026-11-27 03:24 UTC, 24 h ago

      WORKERS   1 alive: station-1:4711 0.1.0 · 2 of 2 calls in flight
      LML       last answer just now (200) · p50 1.8 s, p95 2.6 s

      CATALOGUE 64,676 rows
                due now 8,240: 8,102 stale · 96 never asked · 42 renamed
                fresh 41,018 · in vain, waiting 15,373 · held by hand 37 · not on Discogs 5 · no artist name 3 · of unknown age 2
                identified 48.4 % · cross_source_agreement 61 % · exact_match 22 % · name_variation 11 % · llm 6 %
                discogs 47 % · musicbrainz 39 % · deezer < 0.1 %

      GATE      open: 7,412 truly unresolved, 1,000 allowed
                6,178 compilations (never have an identity) · 1,102 unresolved · 96 never asked · 36 refused
      "
    `);
  });
});

describe('a person has to act', () => {
  test('at 60 columns', () => {
    expect(screen(sick, 60)).toMatchInlineSnapshot(`
      "
      NEEDS YOU
        planning is on hold since 2026-11-28 03:21 UTC (brake):
        run 212: 26 % of the last 1,000 identities came back as
        another artist␛[2J
          look:
            identity-sync diff --run 212
          take back:
            identity-sync undo --run 212
          when LML is well:
            identity-sync run
          where its answers are right:
            identity-sync run --accept changed
        no worker is alive, and the cron plans nothing:
        station-1:4711 has been silent since 2026-11-28 01:20 UTC,
        2 h ago
          start one: identity-sync worker
        14 in quarantine: 12 invalid_verdict
        (main.discogs_artist_id), 2 writer_error (23514)
          look: identity-sync quarantine

      RUNS      run  scope  outcome          ended      changed
                212  due    stopped (brake)  3 min ago      261
                211  due    completed        24 h ago        12
                no next tick: start identity-sync worker
                last success 2026-11-27 03:24 UTC, 24 h ago

      WORKERS   none alive · 0 calls in flight
      LML       last call 3 min ago (no answer)
                p50 1.8 s, p95 29 s
                7 of the last 100 calls failed
                no answer in 30 s

      CATALOGUE 64,676 rows
                due now 8,240: 8,102 stale · 96 never asked
                42 renamed
                fresh 41,018 · in vain, waiting 15,373
                held by hand 37 · not on Discogs 5
                no artist name 3 · of unknown age 2
                identified 48.4 % · cross_source_agreement 61 %
                exact_match 22 % · name_variation 11 % · llm 6 %
                discogs 47 % · musicbrainz 39 % · deezer < 0.1 %

      GATE      open: 7,412 truly unresolved, 1,000 allowed
                6,178 compilations (never have an identity)
                1,102 unresolved · 96 never asked · 36 refused
      "
    `);
  });
  test('at 200 columns', () => {
    expect(screen(sick, 200)).toMatchInlineSnapshot(`
      "
      NEEDS YOU
        planning is on hold since 2026-11-28 03:21 UTC (brake): run 212: 26 % of the last 1,000 identities came back as another artist␛[2J
          look:                        identity-sync diff --run 212
          take back:                   identity-sync undo --run 212
          when LML is well:            identity-sync run
          where its answers are right: identity-sync run --accept changed
        no worker is alive, and the cron plans nothing: station-1:4711 has been silent since 2026-11-28 01:20 UTC, 2 h ago
          start one: identity-sync worker
        14 in quarantine: 12 invalid_verdict (main.discogs_artist_id), 2 writer_error (23514)
          look: identity-sync quarantine

      RUNS      run  scope  outcome          ended                rows  changed  new  confirmed  unresolved  refused   left
                212  due    stopped (brake)  3 min ago  1,000 of 9,240      261    0        739           0        0  8,240
                211  due    completed        24 h ago            9,113       12   41      8,631         388        0      0
                no next tick: start identity-sync worker · last success 2026-11-27 03:24 UTC, 24 h ago

      WORKERS   none alive · 0 calls in flight
      LML       last call 3 min ago (no answer) · p50 1.8 s, p95 29 s · 7 of the last 100 calls failed
                no answer in 30 s

      CATALOGUE 64,676 rows
                due now 8,240: 8,102 stale · 96 never asked · 42 renamed
                fresh 41,018 · in vain, waiting 15,373 · held by hand 37 · not on Discogs 5 · no artist name 3 · of unknown age 2
                identified 48.4 % · cross_source_agreement 61 % · exact_match 22 % · name_variation 11 % · llm 6 %
                discogs 47 % · musicbrainz 39 % · deezer < 0.1 %

      GATE      open: 7,412 truly unresolved, 1,000 allowed
                6,178 compilations (never have an identity) · 1,102 unresolved · 96 never asked · 36 refused
      "
    `);
  });
});

test.each([empty, running, sick])('no line is broken, at any width from 60 to 200', (status) => {
  for (let width = 60; width <= 200; width++) {
    const lines = statusScreen(status, ticks, width);
    expect(lines.filter((line) => widthOf(line) > width)).toEqual([]);
    expect(lines.filter((line) => line.endsWith('…'))).toEqual([]);
  }
});

test('colour only repeats what the words say', () => {
  const mark = (text: string) => `<${text}>`;
  const palette = { bold: mark, red: mark, yellow: mark, green: mark, dim: mark };
  const coloured = statusScreen(sick, ticks, 80, palette).map((line) => line.replaceAll(/[<>]/g, ''));
  expect(coloured).toEqual(statusScreen(sick, ticks, 80).map((line) => line.replaceAll(/[<>]/g, '')));
});

test('a run that failed needs a person until one over the catalogue went well', () => {
  const failed = {
    ...yesterday,
    ...{ run_id: 213, scope: 'ids', outcome: 'failed', outcome_reason: 'LML does not answer' },
    ...{ finished_at: AT, left: 3 },
  };
  const first = (...runs: EndedRun[]) =>
    statusScreen({ ...running, open_runs: [], runs }, ticks, 80).slice(0, 3);
  const needed = [
    'NEEDS YOU',
    '  run 213 failed just now: LML does not answer',
    '    what is left is due: identity-sync run',
  ];
  const byHand = { ...yesterday, run_id: 214, scope: 'repair' };
  expect(first(failed, yesterday)).toEqual(needed);
  expect(first(byHand, failed, yesterday)).toEqual(needed);
  expect(first({ ...yesterday, run_id: 214 }, failed)[0]).toBe('all is well: nothing needs you');

  const nightly = { ...failed, scope: 'due' };
  expect(first({ ...byHand, scope: 'ids' }, nightly)).toEqual(needed);
});

test('what a run refused is not said to be due: the quarantine has its cure', () => {
  const refused = { ...yesterday, outcome: 'failed', outcome_reason: '12 refused, 0 settled' };
  const status = { ...sick, planning: { ...sick.planning, holds: [] }, workers: [], runs: [refused] };
  expect(statusScreen(status, ticks, 120).slice(1, 4)).toEqual([
    '  run 211 failed 24 h ago: 12 refused, 0 settled',
    expect.stringContaining('14 in quarantine'),
    '    look: identity-sync quarantine',
  ]);
});

test('a run that left nothing needs no person once its quarantine is empty', () => {
  const cured = { ...yesterday, outcome: 'failed', outcome_reason: '12 refused, 0 settled' };
  expect(statusScreen({ ...running, open_runs: [], runs: [cured] }, ticks, 80)[0]).toBe(
    'all is well: nothing needs you',
  );
});

test('rows of failed batches are said beside those that are done', () => {
  const [run] = running.open_runs;
  const lines = statusScreen({ ...running, open_runs: [{ ...run!, done: 0, failed: 2000 }] }, ticks, 120);
  expect(lines.find((line) => line.startsWith('OPEN'))).toContain('0 % · 0 of 9,240 rows · 2,000 failed');
});
