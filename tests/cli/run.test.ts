// `identity-sync run`, from the command line to the tables, against LML on a socket.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { guardLibrary } from '../../src/demo/catalogue.js';
import { loadIdentities, type Reply, type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import { call, candidates, shelve, shelveAll, shelveRealRecords } from '../support/catalogue.js';
import { cli, type Ended, holdAnswers, killLeftovers, logOf, startCli } from '../support/cli.js';
import { cloneDatabase, type TestDatabase } from '../support/database.js';

const identities = loadIdentities();

let database: TestDatabase;
let lml: StandIn;
const settings = () => ({ DATABASE_URL: database.url, LIBRARY_METADATA_URL: lml.url });

async function open() {
  database = await cloneDatabase();
  lml = await startStandIn({ identities });
}

async function close() {
  await killLeftovers();
  await lml.close();
  await database.drop();
}

describe('a run over real records', () => {
  let ids: number[];
  let shelf: string;
  let ended: Ended;

  beforeAll(async () => {
    await open();
    ids = await shelveRealRecords(database.sql, (_, index) => index >= 2500 && index < 3000);
    await guardLibrary(database.sql);
    shelf = await hashOfShelf();
    ended = await cli(['run', '--batch-size', '120', '--va-batch-size', '40'], settings());
  });
  afterAll(close);

  test('exits with 0, and prints its report on standard output, and nothing else', async () => {
    expect(ended.status).toBe(0);
    const report = JSON.parse(ended.stdout);
    expect(report).toMatchObject({ scanned: 500, planned: 500, left: 0, outcome: 'completed', scope: 'due' });
    expect(report.rows_resolved).toBeGreaterThan(50);
    expect(report.rows_skipped).toMatchObject({ lml_error: 0, writer_error: 0 });
    const [stored] = await call(database.sql, 'identity_run_report', { run_id: report.run_id });
    expect(report).toEqual(Object.values(stored!)[0]);
  });

  test('logs JSON lines on standard error that name the run', () => {
    for (const line of logOf(ended)) {
      const base = { repo: 'library-identity-sync', tool: 'identity-sync', run_id: 1 };
      expect(line).toMatchObject({ ...base, step: expect.any(String), msg: expect.any(String) });
    }
    expect(logOf(ended).at(0)!.step).toBe('plan');
    expect(logOf(ended).at(-1)!.step).toBe('report');
  });

  test('asks for each record once, in batches of the sizes given', () => {
    expect([...lml.askedIds().keys()].sort((one, other) => one - other)).toEqual(ids);
    expect(new Set(lml.askedIds().values())).toEqual(new Set([1]));
    const sizes = lml.calls.map((call) => call.ids.length);
    expect(sizes.filter((size) => size === 120)).toHaveLength(2);
    expect(sizes.filter((size) => size === 40)).toHaveLength(5);
  });

  test('stores what LML knows of each artist', async () => {
    const rows = await database.sql`
      select library.artist_name, identity.discogs_artist_id, identity.musicbrainz_artist_id, identity.wikidata_qid,
        identity.spotify_id as spotify_artist_id, identity.apple_music_id as apple_music_artist_id, identity.bandcamp_id
      from wxyc_schema.library_identity as identity
      join wxyc_schema.library on library.id = identity.library_id`;
    expect(rows).toHaveLength(JSON.parse(ended.stdout).rows_resolved);
    for (const row of rows) expect({ ...row }).toEqual(identities.get(row.artist_name));
  });

  test('writes nothing to library', async () => {
    expect(await hashOfShelf()).toBe(shelf);
    await expect(database.sql`update wxyc_schema.library set album_title = '' where false`).rejects.toThrow(
      'library is never written to',
    );
  });

  test('leaves nothing due of what it applied: the second run makes no call', async () => {
    expect(await candidates(database.sql)).toEqual([]);
    const before = lml.calls.length;

    const second = await cli(['run'], settings());
    expect(second.status).toBe(0);
    expect(JSON.parse(second.stdout)).toMatchObject({ scanned: 0, outcome: 'completed', lml_total_calls: 0 });
    expect(lml.calls).toHaveLength(before);
  });

  test('leaves no job behind in the queue', async () => {
    expect(await database.sql`select from graphile_worker.jobs`).toHaveLength(0);
  });

  async function hashOfShelf(): Promise<string> {
    const [row] = await database.sql`
      select md5(string_agg(library::text, e'\n' order by id)) as hash from wxyc_schema.library`;
    return row!.hash;
  }
});

describe('a run', () => {
  beforeEach(open);
  afterEach(close);

  const failures: [string, Reply, string][] = [
    ['500', { status: 500, body: 'Internal Server Error' }, 'LML answered 500'],
    ['HTML', { body: '<html>Bad Gateway</html>' }, 'LML answered 200 with what is no answer'],
    ['a body cut off', { destroy: true }, 'failed: the connection broke (UND_ERR_SOCKET)'],
    ['a body that stalls', { stall: true }, 'within 1000 ms'],
    ['{}', { body: '{}' }, 'LML answered 200 with what is no answer'],
    ['no JSON', { body: '{"results": [' }, 'LML answered 200 with what is no answer'],
  ];

  test.each(failures)('loses no more than the batch whose call fails: %s', async (_, reply, words) => {
    const ids = await shelveAll(database.sql, 'Autechre', 'Juana Molina', 'Cat Power');
    const [, failing] = ids;
    lml.respondWith(({ inputs }) => (inputs[0]!.library_id === failing ? reply : undefined));
    const limits = { BATCH_SIZE: '1', LML_TIMEOUT_MS: '1000', LML_MAX_TRIES: '1' };

    const ended = await cli(['run'], { ...settings(), ...limits });
    expect(ended.status).toBe(1);
    expect(JSON.parse(ended.stdout)).toMatchObject({
      outcome: 'failed',
      failed_batches: 1,
      scanned: 3,
      rows_skipped: { lml_error: 1 },
    });
    expect(logOf(ended).at(-1)).toMatchObject({ level: 50, msg: expect.stringContaining(words) });
    expect(await candidates(database.sql)).toEqual([failing]);
  });

  test('asks next time for what failed, and for nothing else', async () => {
    const ids = await shelveAll(database.sql, 'Autechre', 'Juana Molina', 'Cat Power');
    lml.respondWith(({ inputs }) => (inputs[0]!.library_id === ids[1] ? { status: 404 } : undefined));
    await cli(['run', '--batch-size', '1'], settings());
    const asked = lml.calls.length;

    lml.respondWith(null);
    expect(await cli(['run'], settings())).toMatchObject({ status: 0 });
    expect(lml.calls.slice(asked)).toMatchObject([{ ids: [ids[1]] }]);
    expect(await candidates(database.sql)).toEqual([]);
  });

  test('with LML out of reach fails, and everything stays due', async () => {
    const id = await shelve(database.sql, 'Autechre');
    const nowhere = { LIBRARY_METADATA_URL: 'http://127.0.0.1:1', LML_MAX_TRIES: '1' };
    const ended = await cli(['run'], { ...settings(), ...nowhere });
    expect(ended.status).toBe(1);
    expect(logOf(ended).at(-1)!.msg).toContain(
      'the call to 127.0.0.1:1 failed: nothing listens there (ECONNREFUSED)',
    );
    expect(await candidates(database.sql)).toEqual([id]);
  });

  test('never has more calls in flight than allowed, and has that many', async () => {
    await shelveAll(database.sql, ...Array<string>(9).fill('Autechre'));
    const answers = holdAnswers(lml);
    const running = startCli(['run', '--batch-size', '1', '--concurrency', '3'], settings());
    await expect.poll(() => lml.calls.length).toBe(3);
    answers.letGo();
    lml.respondWith(() => ({ delayMs: 60 }));
    expect(await running.ended).toMatchObject({ status: 0 });
    expect(lml.calls).toHaveLength(9);
    expect(lml.maxInFlight).toBe(3);
  });

  test('pauses after each call of a lane for as long as THROTTLE_MS says', async () => {
    await shelveAll(database.sql, 'Autechre', 'Juana Molina', 'Cat Power');
    await cli(['run', '--batch-size', '1', '--concurrency', '1', '--throttle-ms', '250'], settings());
    const [first, second, third] = lml.calls.map((call) => call.at.getTime());
    expect(second! - first!).toBeGreaterThanOrEqual(249);
    expect(third! - second!).toBeGreaterThanOrEqual(249);
  });

  test('holds no transaction open while LML is at work', async () => {
    await shelveAll(database.sql, 'Autechre', 'Juana Molina', 'Cat Power');
    const answers = holdAnswers(lml);
    const running = startCli(['run', '--batch-size', '1'], settings());
    await expect.poll(() => lml.calls.length).toBe(2);

    for (let look = 0; look < 5; look++) {
      const sessions = await database.sql`
        select state, query from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and state like 'idle in transaction%'`;
      expect(sessions).toEqual([]);
    }
    answers.letGo();
    expect(await running.ended).toMatchObject({ status: 0 });
  });

  test('takes its parameters from the flags', async () => {
    await shelve(database.sql, 'Autechre');
    const flags = {
      '--scope': 'refresh',
      '--partition': '1/2',
      '--stale-days': '3',
      '--unresolved-retry-days': '4',
      '--include-null-canonical': '',
      '--strict-bands': '',
    };
    await cli(
      [
        'run',
        ...Object.entries(flags)
          .flat()
          .filter((word) => word !== ''),
      ],
      settings(),
    );
    expect(await latestRun()).toMatchObject({
      scope: 'refresh',
      partition_index: 1,
      partition_count: 2,
      stale_days: 3,
      unresolved_retry_days: 4,
      include_null_canonical: true,
      strict_bands: true,
      dry_run: false,
      ids: null,
    });
  });

  test('takes them from the environment, where no flag says otherwise', async () => {
    await shelve(database.sql, 'Autechre');
    await cli(['run', '--stale-days', '5'], {
      ...settings(),
      RECHECK: '1',
      PARTITION_INDEX: '2',
      PARTITION_COUNT: '3',
      STALE_THRESHOLD_DAYS: '3',
      UNRESOLVED_RETRY_DAYS: '4',
      INCLUDE_NULL_CANONICAL: 'TRUE',
      STRICT_BANDS: 'true',
    });
    expect(await latestRun()).toMatchObject({
      scope: 'recheck',
      partition_index: 2,
      partition_count: 3,
      stale_days: 5,
      unresolved_retry_days: 4,
      include_null_canonical: true,
      strict_bands: true,
    });
  });

  test('of ids asks for them, also where they were answered before', async () => {
    const [autechre, molina] = await shelveAll(database.sql, 'Autechre', 'Juana Molina');
    await cli(['run'], settings());
    const ended = await cli(['run', '--ids', `${molina},${autechre},${molina}`], settings());

    expect(ended.status).toBe(0);
    expect(JSON.parse(ended.stdout)).toMatchObject({ scope: 'ids', scanned: 2, identity: { unchanged: 2 } });
    expect(lml.calls.at(-1)).toMatchObject({ ids: [autechre, molina] });
  });

  test('names rows in quarantine on standard error, and is well with a few of them', async () => {
    const ids = await shelveAll(database.sql, 'Autechre', 'Juana Molina', 'Cat Power');
    lml.respondWith(({ defaultBody }) => {
      const answer = JSON.parse(defaultBody());
      answer.results[1].kind = 'hunch';
      return { body: JSON.stringify(answer) };
    });
    const ended = await cli(['run'], settings());
    expect(ended.status).toBe(0);
    expect(logOf(ended).find((line) => line.msg.includes('quarantine'))?.msg).toBe(
      '1 refused → quarantine: identity-sync quarantine --run 1',
    );
    const quarantine = await database.sql`select library_id, run_id from identity_sync.quarantine`;
    expect(quarantine.map((row) => ({ ...row }))).toEqual([{ library_id: ids[1], run_id: '1' }]);
  });

  test('fails where more rows are refused than settled', async () => {
    await shelveAll(database.sql, 'Autechre', 'Juana Molina', 'Cat Power');
    lml.respondWith(({ defaultBody }) => ({ body: defaultBody().replaceAll('"kind":"', '"kind":"in') }));
    const ended = await cli(['run'], settings());
    expect(ended.status).toBe(1);
    expect(logOf(ended).at(-1)!.msg).toContain('3 refused, 0 settled');
  });
});

describe('a key that LML refuses', () => {
  beforeEach(open);
  afterEach(close);

  test.each([
    [401, undefined],
    [403, 'sk-revoked-2f6a'],
  ])('ends the run at its first call, in words: %i', async (status, key) => {
    await lml.close();
    lml = await startStandIn({ identities, apiKey: 'sk-valid-91bd' });
    const ids = await shelveAll(database.sql, 'Autechre', 'Juana Molina', 'Cat Power');
    const lane = { BATCH_SIZE: '1', LML_CONCURRENCY: '1' };

    const ended = await cli(['run'], { ...settings(), ...lane, ...(key && { LML_API_KEY: key }) });
    expect(ended.status).toBe(1);
    expect(logOf(ended).at(-1)!.msg).toContain(
      `LML answered ${status}: the key is refused. Check LML_API_KEY`,
    );
    expect(lml.calls).toHaveLength(1);
    expect(await candidates(database.sql)).toEqual(ids);

    const again = await cli(['run'], { ...settings(), ...lane, LML_API_KEY: 'sk-valid-91bd' });
    expect(again.status).toBe(0);
    expect(await candidates(database.sql)).toEqual([]);
  });
});

describe('where the database cannot take an answer, through no fault of the answer', () => {
  beforeEach(open);
  afterEach(close);

  let failing: number;

  /** Makes the disk full for one record, for a number of tries. */
  async function fillDisk(tries: number) {
    [, failing] = await shelveAll(database.sql, 'Autechre', 'Juana Molina', 'Cat Power');
    await database.sql.unsafe(`
      create sequence public.tries;
      create function disk_full() returns trigger language plpgsql as $$
      begin
        if new.library_id = ${failing} and nextval('public.tries') <= ${tries} then
          raise exception 'could not extend file' using errcode = 'disk_full';
        end if;
        return new;
      end $$;
      create trigger disk_full before insert on wxyc_schema.library_identity
        for each row execute function disk_full()`);
  }

  test('the same answer is handed over again, and LML is not asked twice', async () => {
    await fillDisk(1);
    const ended = await cli(['run', '--batch-size', '1'], settings());

    expect(ended.status).toBe(0);
    expect(JSON.parse(ended.stdout)).toMatchObject({ rows_resolved: 3, lml_total_calls: 3 });
    expect(logOf(ended).find((line) => line.step === 'settle')).toMatchObject({
      code: '53100',
      msg: expect.stringMatching(
        /^the database could not take the answer for batch \d+: could not extend file$/,
      ),
    });
    expect(await candidates(database.sql)).toEqual([]);
  });

  test('to the end, its batch fails after LML_MAX_TRIES tries, with no mark and no quarantine', async () => {
    await fillDisk(1000);
    const ended = await cli(['run', '--batch-size', '1'], { ...settings(), LML_MAX_TRIES: '2' });

    expect(ended.status).toBe(1);
    expect(JSON.parse(ended.stdout)).toMatchObject({
      outcome: 'failed',
      rows_resolved: 2,
      rows_skipped: { writer_error: 1, lml_error: 0 },
      lml_total_calls: 3,
      quarantined: 0,
    });
    const [{ tries }] = await database.sql<
      [{ tries: number }]
    >`select last_value::integer as tries from public.tries`;
    expect(tries).toBe(2);
    expect(logOf(ended).at(-1)!.msg).toContain('could not extend file');
    expect(await candidates(database.sql)).toEqual([failing]);
    expect(await database.sql`select from identity_sync.attempt where library_id = ${failing}`).toHaveLength(
      0,
    );
  });
});

describe('two processes', () => {
  beforeEach(open);
  afterEach(close);

  test('share one run: every record is asked for once, with no more calls in flight than one may have', async () => {
    const ids = await shelveAll(database.sql, ...Array<string>(12).fill('Autechre'));
    const answers = holdAnswers(lml);
    const both = [1, 2].map(() => startCli(['run', '--batch-size', '1'], settings()));
    for (const process of both) await process.says('"msg":"run 1 planned: ');
    await expect.poll(() => lml.calls.length).toBe(2);
    answers.letGo();

    const [one, other] = await Promise.all(both.map((process) => process.ended));
    expect(one).toMatchObject({ status: 0 });
    expect(other).toMatchObject({ status: 0 });
    expect(JSON.parse(one!.stdout)).toEqual(JSON.parse(other!.stdout));
    expect(JSON.parse(one!.stdout)).toMatchObject({ run_id: 1, scanned: 12, lml_total_calls: 12 });
    expect([...lml.askedIds()].sort(([a], [b]) => a - b)).toEqual(ids.map((id) => [id, 1]));
    expect(lml.maxInFlight).toBe(2);
  });

  test('of different runs keep to the limit together as well', async () => {
    const ids = await shelveAll(database.sql, ...Array<string>(8).fill('Autechre'));
    lml.respondWith(() => ({ delayMs: 30 }));
    const halves = [ids.slice(0, 4), ids.slice(4)];
    const ended = await Promise.all(
      halves.map((half) => cli(['run', '--batch-size', '1', '--ids', half.join()], settings())),
    );
    expect(ended).toMatchObject([{ status: 0 }, { status: 0 }]);
    expect(lml.calls).toHaveLength(8);
    expect(lml.maxInFlight).toBeLessThanOrEqual(2);
  });

  test('take over a run that was planned in psql: it is joined, and carried to its end', async () => {
    await shelveAll(database.sql, 'Autechre', 'Juana Molina');
    await database.sql`select identity_sync.plan_identity_run(batch_size => 1)`;
    const ended = await cli(['run'], settings());
    expect(ended.status).toBe(0);
    expect(JSON.parse(ended.stdout)).toMatchObject({ run_id: 1, batches: 2, outcome: 'completed' });
    expect(lml.calls).toHaveLength(2);
  });
});

describe('a run whose process was killed', () => {
  let ids: number[];

  beforeEach(async () => {
    await open();
    ids = await shelveAll(database.sql, 'Autechre', 'Juana Molina', 'Cat Power');
    const answers = holdAnswers(lml);
    const killed = startCli(['run', '--batch-size', '1'], settings());
    await expect.poll(() => lml.calls.length).toBe(2);
    killed.signal('SIGKILL');
    await killed.ended;
    answers.letGo();
  });
  afterEach(close);

  test.each<[string, (ids: number[]) => string[]]>([
    ['of ids', ([first, second]) => ['--ids', `${first},${second}`]],
    ['of another scope', () => ['--scope', 'refresh']],
    ['of the same scope', () => []],
  ])('keeps no row from a run on the day after: one %s', async (_, flags) => {
    await database.sql`
      update identity_sync.run set started_at = started_at - interval '1 day', deadline_at = deadline_at - interval '1 day'`;
    await database.sql`update identity_sync.batch set leased_until = leased_until - interval '1 day'`;

    const ended = await cli(['run', ...flags(ids)], settings());
    const planned = flags(ids)[0] === '--ids' ? 2 : 3;
    expect(ended.status).toBe(0);
    expect(JSON.parse(ended.stdout)).toMatchObject({
      run_id: 2,
      planned,
      scanned: planned,
      outcome: 'completed',
    });
  });

  test('keeps its rows until its deadline: a run of them alone is no success, and says who holds them', async () => {
    const ended = await cli(['run', '--ids', ids.join()], settings());
    expect(ended.status).toBe(1);
    expect(JSON.parse(ended.stdout)).toMatchObject({
      run_id: 2,
      planned: 0,
      held_by_runs: [1],
      held_ids: ids,
    });
    expect(logOf(ended).map((line) => line.msg)).toEqual([
      'run 2 planned: 0 rows in 0 batches',
      `3 rows left to another open run (1): ${ids.join()}`,
      expect.stringMatching(/^run 2 failed in [\d.]+ m?s: all of its rows are held by another open run: 1$/),
    ]);
  });
});

describe('a run of ids that cannot be asked', () => {
  beforeEach(open);
  afterEach(close);

  test('names them, and asks for the others', async () => {
    const [autechre, nameless] = await shelveAll(database.sql, 'Autechre', { artist: ' ' });
    const ended = await cli(['run', '--ids', `${autechre},${nameless},999999`], settings());
    expect(ended.status).toBe(0);
    expect(logOf(ended).map((line) => line.msg)).toContain(
      `ids named that are not in library, or have no artist name there: ${nameless},999999`,
    );
  });

  test('of which none can be, ends with 1', async () => {
    const ended = await cli(['run', '--ids', '999999'], settings());
    expect(ended.status).toBe(1);
    expect(logOf(ended).at(-1)!.msg).toMatch(
      /^run 1 failed in [\d.]+ m?s: none of the ids named is in library with an artist name$/,
    );
  });
});

test('a run that joins another says so, and which of its flags are in vain', async () => {
  await open();
  try {
    await shelveAll(database.sql, 'Autechre', 'Juana Molina');
    await database.sql`select identity_sync.plan_identity_run(batch_size => 1, opened_by => 'host:1')`;
    const ended = await cli(['run', '--accept-unresolved', '--call-budget', '9'], settings());
    expect(ended.status).toBe(0);
    expect(logOf(ended)[0]).toMatchObject({
      ...{ level: 40, step: 'plan', run_id: 1 },
      msg:
        'run 1 is open, and is joined (opened by host:1). It keeps its own settings: ' +
        'accept [] (asked: ["unresolved"]), batch_size 1 (asked: 500), call_budget none (asked: 9)',
    });
  } finally {
    await close();
  }
});

async function latestRun() {
  const [run] = await database.sql`select * from identity_sync.run order by run_id desc limit 1`;
  return run;
}
