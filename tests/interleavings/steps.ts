// What two sessions may do to the same library at once, each as a named step, and what must hold afterwards.
import type postgres from 'postgres';
import { expect } from 'vitest';
import { plan, shelveRows } from '../support/catalogue.js';
import type { TestDatabase } from '../support/database.js';
import {
  type Fields,
  MONDAY,
  REPAIR,
  SERVICE,
  service,
  singleArtist,
  TUESDAY,
  toText,
  WEDNESDAY,
  withMain,
} from '../support/writer.js';

/** The libraries of one pair of steps: the one that both are about, and another that it may be merged into. */
export interface Place {
  id: number;
  other: number;
  /** The run that has written the library on Monday. */
  run: string;
  /** A batch that is in flight, and holds the library. */
  batch: string;
  /** The open quarantine entry of the library. */
  entry: string;
}

type Do = (sql: postgres.ISql, place: Place) => PromiseLike<unknown>;

const answered = (id: number, discogs: number) => withMain(singleArtist(id), { discogs_artist_id: discogs });

const apply =
  (at: Date, discogs: number, origin = SERVICE): Do =>
  (sql, { id }) =>
    sql`
      select identity_sync.apply_identity_verdicts(
        response => ${toText({ results: [answered(id, discogs)] })}::text::jsonb,
        requested => ${[id]}::integer[], origin => ${origin}, verified_at => ${at.toISOString()}::text::timestamptz)`;

const refuse: Do = (sql, { id }) =>
  sql`
    select identity_sync.apply_identity_verdicts(
      response => ${toText({ results: [singleArtist(id, { kind: 'hunch' })] })}::text::jsonb,
      requested => ${[id]}::integer[], origin => ${SERVICE}, verified_at => ${WEDNESDAY.toISOString()}::text::timestamptz)`;

/** The backend deletes the identity first. What was written meanwhile is a foreign key's business, and it tries again. */
const remove =
  (pick: (place: Place) => number): Do =>
  async (sql, place) => {
    const id = pick(place);
    await sql`delete from wxyc_schema.library_identity_source where library_id = ${id}`;
    await sql`delete from wxyc_schema.library_identity where library_id = ${id}`;
    await sql`delete from wxyc_schema.library where id = ${id}`;
  };

export const STEPS: Record<string, Do> = {
  'apply an older answer': apply(TUESDAY, 1),
  'apply a newer answer': apply(WEDNESDAY, 2),
  'apply a refused answer': refuse,
  repair: apply(TUESDAY, 3, REPAIR),
  replay: (sql, { id }) => sql`select identity_sync.replay_quarantined_verdicts(ids => ${[id]}::integer[])`,
  dismiss: (sql, { entry }) => sql`select identity_sync.dismiss_quarantined_verdict(${entry}, 'why')`,
  release: (sql, { id }) => sql`select identity_sync.release_identity(${id}, 'why')`,
  hold: (sql, { id }) => sql`select identity_sync.hold_identity(${id}, 'why')`,
  undo: (sql, { run }) => sql`select identity_sync.undo_identity_run(${run})`,
  plan: (sql, { id, other }) => plan(sql, { scope: 'ids', ids: [id, other] }),
  finish: (sql, { id, batch }) =>
    sql`
      select * from identity_sync.finish_identity_call(
        batch_id => ${batch}, leased_by => 'lane', http_status => 200, failure => null, latency_ms => 1,
        body => ${toText({ results: [answered(id, 4)] })})`,
  prune: (sql) => sql`select identity_sync.prune_identity_sync(30)`,
  rescue: (sql) => sql`select identity_sync.rescue_identity_runs(2)`,
  'the backend renames': (sql, { id }) =>
    sql`update wxyc_schema.library set artist_name = 'Prince' where id = ${id}`,
  'the backend deletes': remove(({ id }) => id),
  'the backend merges': async (sql, place) => {
    const { id, other } = place;
    await remove(() => -1)(sql, place);
    for (const table of ['library_identity', 'library_identity_source', 'library_identity_history'])
      await sql`update wxyc_schema.${sql(table)} set library_id = ${other} where library_id = ${id}`;
    await sql`delete from wxyc_schema.library where id = ${id}`;
  },
  'the backend restores': (sql, { id }) =>
    sql`
      insert into wxyc_schema.library (id, artist_id, artist_name, album_title, legacy_release_id)
      values (${id}, 1, 'Unnamed', 'Untitled', ${id})`,
};

const isBackend = (name: string) => name.startsWith('the backend');

/** The steps of the backend that find a foreign key in their way, and so begin again. */
const TRIED_AGAIN = '23503';

let next = 1_000_000;

/** Notes what every change of an identity was before, as somebody who watches the table. */
export async function watch(sql: postgres.Sql): Promise<void> {
  // How long one waits for the other is not what this is about, and a busy machine takes longer than five seconds.
  await sql.unsafe(`
    do $$ declare patient regprocedure;
    begin
      for patient in select oid from pg_proc where 'lock_timeout=5s' = any (proconfig) loop
        execute format('alter function %s set lock_timeout = 0', patient);
      end loop;
    end $$;
    insert into wxyc_schema.artists (id, artist_name) values (1, 'Unnamed');
    create schema station;
    create table station.refuses (id integer);
    create table station.seen (
      number serial, library_id integer, changed_by text, was wxyc_schema.library_identity, became wxyc_schema.library_identity
    );
    create function station.see() returns trigger language plpgsql security definer as $$
    begin
      insert into station.seen (library_id, changed_by, was, became)
      values (old.library_id, current_setting('station.step', true), old, case tg_op when 'UPDATE' then new end);
      return null;
    end $$;
    create trigger see after update or delete on wxyc_schema.library_identity
      for each row execute function station.see();
    create function station.refuse() returns trigger language plpgsql as $$
    begin
      if exists (select from station.refuses where id = new.discogs_artist_id) then
        raise exception using errcode = '23514', message = 'not this one';
      end if;
      return new;
    end $$;
    create trigger refuse before insert or update on wxyc_schema.library_identity
      for each row execute function station.refuse();`);
}

/** Shelves what a pair of steps needs: an identity of Monday's, a refusal that would be written now, a batch in flight. */
export async function prepare({ sql }: TestDatabase, names: string[]): Promise<Place> {
  const [id, other] = [next++, next++];
  await shelveRows(sql, [{ id }, { id: other }]);
  const opened = await sql<
    [{ last: string }]
  >`select coalesce(max(run_id), 0) as last from identity_sync.run`;
  await service(sql, [answered(id, 10)], { verifiedAt: MONDAY });
  const [{ run }] = await sql<[{ run: string }]>`
    select coalesce(max(run_id), 0) as run from identity_sync.run where run_id > ${opened[0].last}`;

  const planned = await plan(sql, { scope: 'ids', ids: [id], deadline_minutes: 1440 });
  const [{ batch }] = await sql<[{ batch: string }]>`
    select batch_id as batch
    from identity_sync.claim_identity_batch(${planned}::bigint, 'lane', 32, 600000) as claimed`;

  // Refused on Tuesday, and nothing is in its way now.
  await sql`insert into station.refuses values (666)`;
  await service(sql, [answered(id, 666)], { verifiedAt: TUESDAY });
  await sql`delete from station.refuses`;
  const [{ entry }] = await sql<[{ entry: string }]>`
    select quarantine_id as entry from identity_sync.quarantine where library_id = ${id}`;

  const place = { id, other, run, batch, entry };
  if (names.includes('the backend restores')) await STEPS['the backend deletes']!(sql, place);
  await sql`truncate station.seen`;
  return place;
}

/** Takes back what a pair of steps may have left for the next one. */
export async function clear({ sql }: TestDatabase): Promise<void> {
  await sql`
    select identity_sync.stop_identity_run(run_id, 'over')
    from identity_sync.run where finished_at is null`;
  await sql`
    select identity_sync.fail_identity_batch(batch_id, 'over')
    from identity_sync.batch where closed_at is null`;
}

export interface Session {
  sql: postgres.Sql;
  pid: number;
  name: string;
  /** Undefined while its step runs, then its SQLSTATE, or 'done'. */
  outcome: string | undefined;
  ended: Promise<void>;
}

/** Opens a session for the steps of many pairs. */
export async function open(sql: postgres.Sql): Promise<Session> {
  const [{ pid }] = await sql<[{ pid: number }]>`select pg_backend_pid() as pid`;
  return { sql, pid, name: '', outcome: undefined, ended: Promise.resolve() };
}

/** Has a session take a step in a transaction that stays open, and says whether it waits for another session. */
export async function take(
  sql: postgres.Sql,
  session: Session,
  name: string,
  place: Place,
): Promise<'passes' | 'waits'> {
  await session.sql`begin`;
  await session.sql`select set_config('station.step', ${name}, true)`;
  Object.assign(session, { name, outcome: undefined });
  session.ended = attempt(session, place);
  return await settled(sql, session);
}

async function attempt(session: Session, place: Place): Promise<void> {
  try {
    await STEPS[session.name]!(session.sql, place);
    session.outcome = 'done';
  } catch (error) {
    session.outcome = (error as { code: string }).code;
  }
}

/** Waits until a session is done or waits for another, and says which. An autovacuum that is in its way soon gives way. */
async function settled(sql: postgres.Sql, session: Session): Promise<'passes' | 'waits'> {
  let state: 'passes' | 'waits' | undefined;
  const look = async () => {
    const [row] = await sql<[{ waits: boolean }]>`
      select exists (
        select from pg_stat_activity
        where pid = any (pg_blocking_pids(${session.pid})) and backend_type = 'client backend'
      ) as waits`;
    state = session.outcome !== undefined ? 'passes' : row.waits ? 'waits' : undefined;
    return state;
  };
  await expect.poll(look, { interval: 3 }).toBeDefined();
  return state!;
}

/** Ends the transaction of a session; what the backend could not do it begins again. */
export async function end(session: Session, place: Place, how: 'commit' | 'rollback'): Promise<void> {
  await session.ended;
  if (session.outcome === TRIED_AGAIN && isBackend(session.name)) {
    await session.sql`rollback`;
    await session.sql`begin`;
    await session.sql`select set_config('station.step', ${session.name}, true)`;
    await attempt(session, place);
  }
  await (session.outcome === 'done' && how === 'commit' ? session.sql`commit` : session.sql`rollback`);
}

const OURS = `
  discogs_artist_id, musicbrainz_artist_id, wikidata_qid, spotify_id, apple_music_id, bandcamp_id, method, confidence,
  notes`;

/** What must hold whatever two sessions did, in whichever order. */
export async function expectNothingLost(sql: postgres.Sql, { id }: Place): Promise<void> {
  const seen = await sql<{ changed_by: string; was: Fields; is: Fields | null }[]>`
    select changed_by, to_jsonb(was) as was, to_jsonb(became) as "is"
    from station.seen where library_id = ${id} order by number`;
  const history = await sql<Fields[]>`
    select to_jsonb(h) as row from wxyc_schema.library_identity_history as h where library_id >= ${id}`;
  const columns = OURS.split(',').map((column) => column.trim());
  const content = (row: Fields) => JSON.stringify(columns.map((column) => row[column]));
  const kept = history.map(({ row }) => content(row as Fields));
  for (const { changed_by, was, is } of seen) {
    if (isBackend(changed_by ?? '')) continue;
    if (!is || content(was) !== content(is))
      expect(kept, `${changed_by} kept what it replaced`).toContain(content(was));
    const isOlder =
      is && Date.parse(is.last_verified_at as string) < Date.parse(was.last_verified_at as string);
    if (isOlder) expect(['repair', 'undo']).toContain(changed_by);
  }
}
