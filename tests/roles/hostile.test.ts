// Functions run with their owner's rights, so a caller's own objects must never take the place of those that they name.
import type postgres from 'postgres';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { answerOf, call, claim, plan, settle, shelveAll, verdict } from '../support/catalogue.js';
import { connect, useDatabase, useLogin } from '../support/database.js';
import { useRoles } from '../support/roles.js';

const mallory = useLogin();
const roles = useRoles();
const database = useDatabase();

let sql: postgres.Sql;
let dilate: number;
let sangoma: number;

beforeAll(async () => {
  await roles.run(database.url, { operator: mallory.name, worker: mallory.name });
  await database.sql.unsafe(`create schema evil authorization ${mallory.name}`);
  [dilate, sangoma] = await shelveAll(database.sql, 'Ani DiFranco', 'Miriam Makeba');
  sql = connect(mallory.into(database));
  await sql.unsafe(TRAPS);
});

beforeEach(() => database.sql`truncate evil.caught`);

// A trap that catches a function with its owner's rights reports who ran it.
const TRAPS = `
  create table evil.caught (trap text, victim name default current_user);
  grant insert on evil.caught to public;
  grant usage on schema evil to public;

  create function evil.spring(trap text) returns boolean language sql as $$
    insert into evil.caught (trap) values (trap) returning true;
  $$;

  create function evil.clock_timestamp() returns timestamptz language sql as $$
    select pg_catalog.clock_timestamp() from evil.spring('clock_timestamp()');
  $$;
  create function evil.starts_with(text, text) returns boolean language sql as $$
    select pg_catalog.starts_with($1, $2) from evil.spring('starts_with()');
  $$;
  create function evil.jsonb_typeof(jsonb) returns text language sql as $$
    select pg_catalog.jsonb_typeof($1) from evil.spring('jsonb_typeof()');
  $$;
  create function evil.btrim(text) returns text language sql as $$
    select pg_catalog.btrim($1) from evil.spring('btrim()');
  $$;
  create function evil.hashtext(text) returns integer language sql as $$
    select pg_catalog.hashtext($1) from evil.spring('hashtext()');
  $$;
  create function evil.json_build_object(text, text) returns json language sql as $$
    select pg_catalog.json_build_object($1, $2) from evil.spring('json_build_object()');
  $$;

  create function evil.equal(integer, integer) returns boolean language sql as $$
    select $1 operator(pg_catalog.=) $2 from evil.spring('integer = integer');
  $$;
  create operator evil.= (leftarg = integer, rightarg = integer, function = evil.equal);
  create function evil.equal(bigint, bigint) returns boolean language sql as $$
    select $1 operator(pg_catalog.=) $2 from evil.spring('bigint = bigint');
  $$;
  create operator evil.= (leftarg = bigint, rightarg = bigint, function = evil.equal);
  create function evil.equal(text, text) returns boolean language sql as $$
    select $1 operator(pg_catalog.=) $2 from evil.spring('text = text');
  $$;
  create operator evil.= (leftarg = text, rightarg = text, function = evil.equal);
  create function evil.field(jsonb, text) returns text language sql as $$
    select $1 operator(pg_catalog.->>) $2 from evil.spring('jsonb ->> text');
  $$;
  create operator evil.->> (leftarg = jsonb, rightarg = text, function = evil.field);
  create function evil.concatenate(text, text) returns text language sql as $$
    select $1 operator(pg_catalog.||) $2 from evil.spring('text || text');
  $$;
  create operator evil.|| (leftarg = text, rightarg = text, function = evil.concatenate);

  -- A type or a table of the session's own is found before all others, unless pg_temp is named last.
  create domain pg_temp.jsonb as pg_catalog.jsonb check (evil.spring('the type jsonb'));
  create domain pg_temp.timestamptz as pg_catalog.timestamptz check (evil.spring('the type timestamptz'));
  create domain pg_temp.text as pg_catalog.text check (evil.spring('the type text'));
  create function pg_temp.jsonb_typeof(pg_catalog.jsonb) returns pg_catalog.text language sql as $$
    select pg_catalog.jsonb_typeof($1) from evil.spring('pg_temp.jsonb_typeof()');
  $$;

  create view evil.library as select * from wxyc_schema.library where evil.spring('the table library');
  create table evil.library_identity (like wxyc_schema.library_identity including all);
  create table evil.attempt (like identity_sync.attempt including all);
  create temp table library_identity (like wxyc_schema.library_identity including all);
  create temp table attempt (like identity_sync.attempt including all);
  create temp table settlement (like identity_sync.settlement including all);
  create temp table run (like identity_sync.run including all);
  create temp table batch (like identity_sync.batch including all);
  create temp view pg_class as select * from pg_catalog.pg_class where evil.spring('the table pg_class');

  set search_path = pg_temp, evil, pg_catalog, identity_sync;`;

const caught = async () => [...(await database.sql`select distinct trap, victim from evil.caught`)];

describe('a caller with traps in the search_path and pg_temp catches no function', () => {
  test('and the traps are set: his own statements fall into them', async () => {
    await sql`select clock_timestamp(), 1 = 1, ('{}'::pg_catalog.jsonb ->> 'a'), 'a'::text from library, pg_class limit 1`;
    const traps = (await caught()).map(({ trap }) => trap).sort();
    expect(traps).toEqual([
      'clock_timestamp()',
      'integer = integer',
      'jsonb ->> text',
      'the table library',
      'the table pg_class',
      'the type text',
    ]);
  });

  test('when he repairs', async () => {
    const [{ report }] = await sql<[{ report: object }]>`
      select apply_identity_verdicts(${JSON.stringify([verdict.resolved(dilate), verdict.invalid(sangoma)])}::pg_catalog.text::pg_catalog.jsonb) as report`;
    expect(report).toMatchObject({ rows_resolved: 1, rows_skipped: { invalid_verdict: 1 } });
    const [{ again }] = await sql<[{ again: object }]>`
      select apply_identity_response(${answerOf([verdict.resolved(dilate, 42)])}, null) as again`;
    expect(again).toMatchObject({ identity: { changed: 1 } });
    const [{ replayed }] = await sql<
      [{ replayed: object }]
    >`select replay_quarantined_verdicts() as replayed`;
    expect(replayed).toMatchObject({ replayed: 1 });
    expect(await caught()).toEqual([]);

    const written = await database.sql`select discogs_artist_id from wxyc_schema.library_identity`;
    expect([...written]).toEqual([{ discogs_artist_id: 42 }]);
  });

  test('when he releases', async () => {
    const [{ released }] = await sql<[{ released: object }]>`
      select release_identity(${dilate}, 'it was somebody else') as released`;
    expect(released).toMatchObject({ identity: 'removed' });
    expect(await caught()).toEqual([]);
    expect(await database.sql`select from wxyc_schema.library_identity`).toHaveLength(0);
  });

  test('when he compares and undoes', async () => {
    const [last] = await sql`select max(run_id) as run_id from run_progress`;
    expect(await call(sql, 'identity_run_changes', { run_id: last!.run_id })).not.toEqual([]);
    await call(sql, 'undo_identity_run', { run_id: last!.run_id });
    expect(await caught()).toEqual([]);
    expect(await database.sql`select from wxyc_schema.library_identity`).toHaveLength(1);
    await sql`select release_identity(${dilate}, 'it was somebody else')`;
  });

  test('when he carries runs, and writes what a dry run previewed', async () => {
    const dryRun = await plan(sql, { dry_run: true, include_null_canonical: true });
    const previewed = await claim(sql, dryRun);
    await settle(sql, previewed.batch_id, { body: answerOf([verdict.resolved(dilate)]) });
    await call(sql, 'apply_identity_preview', { run_id: dryRun });

    const run = await plan(sql, { scope: 'ids', ids: [dilate, sangoma], batch_size: 1 });
    const first = await claim(sql, run);
    await call(sql, 'return_identity_batch', { batch_id: first.batch_id, leased_by: 'lane' });
    const second = await claim(sql, run);
    await settle(sql, second.batch_id, { body: answerOf([verdict.resolved(dilate)]) });
    const third = await claim(sql, run);
    await call(sql, 'fail_identity_batch', { batch_id: third.batch_id, failure: 'no more' });
    await call(sql, 'enqueue_lanes', { run_id: run, lanes: 1 });
    await call(sql, 'stop_identity_run', { run_id: run, reason: 'enough' });
    await call(sql, 'rescue_identity_runs', { lanes: 1 });
    await call(sql, 'prune_identity_sync', { keep_days: 1 });
    await call(sql, 'resume_identity_planning', { name: 'brake' });

    expect(await caught()).toEqual([]);
    const runs = await database.sql`
      select outcome from identity_sync.run where scope = 'ids' or dry_run order by run_id`;
    expect([...runs]).toEqual([{ outcome: 'completed' }, { outcome: 'failed' }]);
  });
});
