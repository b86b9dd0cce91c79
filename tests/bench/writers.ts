// The ways to write the same verdicts that are compared, all but the command line itself.
import type postgres from 'postgres';
import type { Result } from '../../src/demo/stand-in.js';
import { connect, type Usage } from './server.js';
import { answerText, BATCH_SIZE, type Batch, type Content } from './verdicts.js';

/** Writes the batches into the database; the clock starts when its sessions are open. */
export type Writer = (url: string, batches: Batch[]) => Promise<Usage>;

/**
 * How the job that this replaces writes: a transaction a verdict, a statement a row, over one connection and with
 * prepared statements. Of an answer without an identity it writes the mark only.
 */
export const writeRowByRow: Writer = (url, batches) =>
  timed(url, 1, async ([sql]) => {
    for (const { body } of batches) {
      const { results } = JSON.parse(body) as { results: Result[] };
      for (const verdict of results) {
        if (verdict.kind === 'single_artist') await sql!.begin((tx) => writeIdentity(tx, verdict));
        else await writeAttempt(sql!, verdict);
      }
    }
  });

async function writeIdentity(tx: postgres.TransactionSql, verdict: Result): Promise<void> {
  const { library_id, main, method, confidence, provenance } = verdict;
  await tx`select * from wxyc_schema.library_identity where library_id = ${library_id} for update`;
  for (const leg of provenance) {
    if (leg.confidence === null) continue;
    await tx`
      insert into wxyc_schema.library_identity_source
        (library_id, source, external_id, method, confidence, last_verified_at, notes)
      values
        (${library_id}, ${leg.source}, ${leg.external_id}, ${leg.method}, ${leg.confidence}, clock_timestamp(),
        'consumer:lml-bulk')
      on conflict (library_id, source) do update set
        external_id = excluded.external_id, method = excluded.method, confidence = excluded.confidence,
        last_verified_at = excluded.last_verified_at, notes = excluded.notes`;
  }
  await tx`
    insert into wxyc_schema.library_identity
      (library_id, discogs_artist_id, musicbrainz_artist_id, wikidata_qid, spotify_id, apple_music_id, bandcamp_id,
      method, confidence, last_verified_at, notes)
    values
      (${library_id}, ${main!.discogs_artist_id}, ${main!.musicbrainz_artist_id}, ${main!.wikidata_qid},
      ${main!.spotify_artist_id}, ${main!.apple_music_artist_id}, ${main!.bandcamp_id},
      ${method}, ${confidence}, clock_timestamp(), 'consumer:lml-bulk')
    on conflict (library_id) do update set
      discogs_artist_id = excluded.discogs_artist_id, musicbrainz_artist_id = excluded.musicbrainz_artist_id,
      wikidata_qid = excluded.wikidata_qid, spotify_id = excluded.spotify_id,
      apple_music_id = excluded.apple_music_id, bandcamp_id = excluded.bandcamp_id,
      method = excluded.method, confidence = excluded.confidence,
      last_verified_at = excluded.last_verified_at, notes = excluded.notes`;
}

async function writeAttempt(sql: postgres.Sql, { library_id, kind }: Result): Promise<void> {
  await sql`
    insert into identity_sync.attempt (library_id, outcome, attempted_at)
    values (${library_id}, ${kind}, clock_timestamp())
    on conflict (library_id) do update set
      outcome = excluded.outcome, attempted_at = excluded.attempted_at`;
}

/** The same upserts, set-based, from JSON text and from typed rows, with nothing judged, compared or kept. */
export const FLOORS_SQL = `
  create schema bench;

  create function bench.identities(answer jsonb)
  returns table (
    library_id integer, discogs_artist_id integer, musicbrainz_artist_id text, wikidata_qid text, spotify_id text,
    apple_music_id text, bandcamp_id text, method text, confidence real
  )
  language sql immutable as $$
    select
      result.library_id, main.discogs_artist_id, main.musicbrainz_artist_id, main.wikidata_qid, main.spotify_artist_id,
      main.apple_music_artist_id, main.bandcamp_id, result.method, result.confidence
    from jsonb_to_recordset(answer -> 'results') as result (
      library_id integer, kind text, main jsonb, method text, confidence real
    )
    cross join lateral jsonb_to_record(result.main) as main (
      discogs_artist_id integer, musicbrainz_artist_id text, wikidata_qid text, spotify_artist_id text,
      apple_music_artist_id text, bandcamp_id text
    )
    where result.kind = 'single_artist'
  $$;

  create function bench.sources(answer jsonb)
  returns table (library_id integer, source text, external_id text, method text, confidence real)
  language sql immutable as $$
    select result.library_id, leg.source, leg.external_id, leg.method, leg.confidence
    from jsonb_to_recordset(answer -> 'results') as result (library_id integer, kind text, provenance jsonb)
    cross join lateral jsonb_to_recordset(result.provenance) as leg (
      source text, external_id text, method text, confidence real
    )
    where result.kind = 'single_artist' and leg.confidence is not null
  $$;

  create function bench.attempts(answer jsonb)
  returns table (library_id integer, outcome text)
  language sql immutable as $$
    select result.library_id, result.kind
    from jsonb_to_recordset(answer -> 'results') as result (library_id integer, kind text)
    where result.kind <> 'single_artist'
  $$;

  create unlogged table bench.staged_identity as
    select '' as content, 0 as batch, * from bench.identities('{"results": []}');
  create unlogged table bench.staged_source as
    select '' as content, 0 as batch, * from bench.sources('{"results": []}');
  create unlogged table bench.staged_attempt as
    select '' as content, 0 as batch, * from bench.attempts('{"results": []}');

  create function bench.stage(content text, batch integer, body text) returns void language plpgsql as $$
  declare
    answer constant jsonb := body::jsonb;
  begin
    insert into bench.staged_identity select stage.content, stage.batch, * from bench.identities(answer);
    insert into bench.staged_source select stage.content, stage.batch, * from bench.sources(answer);
    insert into bench.staged_attempt select stage.content, stage.batch, * from bench.attempts(answer);
  end;
  $$;

  create function bench.write_json(body text) returns void language plpgsql as $$
  declare
    answer constant jsonb := body::jsonb;
  begin
    ${upserts('bench.identities(answer)', 'bench.sources(answer)', 'bench.attempts(answer)')}
  end;
  $$;

  create function bench.write_staged(content text, batch integer) returns void language plpgsql as $$
  begin
    ${upserts(staged('identity'), staged('source'), staged('attempt'))}
  end;
  $$;`;

function staged(kind: string): string {
  return `(
    select * from bench.staged_${kind}
    where staged_${kind}.content = write_staged.content and staged_${kind}.batch = write_staged.batch
  )`;
}

function upserts(identities: string, sources: string, attempts: string): string {
  return `
    insert into wxyc_schema.library_identity (
      library_id, discogs_artist_id, musicbrainz_artist_id, wikidata_qid, spotify_id, apple_music_id, bandcamp_id,
      method, confidence, last_verified_at, notes
    )
    select
      library_id, discogs_artist_id, musicbrainz_artist_id, wikidata_qid, spotify_id, apple_music_id, bandcamp_id,
      method, confidence, now(), 'consumer:lml-bulk'
    from ${identities} as verdict
    on conflict (library_id) do update set
      discogs_artist_id = excluded.discogs_artist_id, musicbrainz_artist_id = excluded.musicbrainz_artist_id,
      wikidata_qid = excluded.wikidata_qid, spotify_id = excluded.spotify_id,
      apple_music_id = excluded.apple_music_id, bandcamp_id = excluded.bandcamp_id,
      method = excluded.method, confidence = excluded.confidence,
      last_verified_at = excluded.last_verified_at, notes = excluded.notes;

    insert into wxyc_schema.library_identity_source (
      library_id, source, external_id, method, confidence, last_verified_at, notes
    )
    select library_id, source, external_id, method, confidence, now(), 'consumer:lml-bulk'
    from ${sources} as leg
    on conflict (library_id, source) do update set
      external_id = excluded.external_id, method = excluded.method, confidence = excluded.confidence,
      last_verified_at = excluded.last_verified_at, notes = excluded.notes;

    insert into identity_sync.attempt (library_id, outcome, attempted_at)
    select library_id, outcome, now()
    from ${attempts} as mark
    on conflict (library_id) do update set
      outcome = excluded.outcome, attempted_at = excluded.attempted_at;`;
}

/** Puts the rows of these batches into the staging tables, from which `writeStaged` takes them. */
export async function stage(sql: postgres.Sql, content: string, batches: Batch[]): Promise<void> {
  for (const [index, { body }] of batches.entries()) {
    await sql`select bench.stage(${content}, ${index}, ${body})`;
  }
}

export const indexStages = (sql: postgres.Sql) =>
  sql.unsafe(`
    create index on bench.staged_identity (content, batch);
    create index on bench.staged_source (content, batch);
    create index on bench.staged_attempt (content, batch);`);

export function writeStaged(content: string): Writer {
  return (url, batches) =>
    timed(url, 1, async ([sql]) => {
      for (const index of batches.keys()) await sql!`select bench.write_staged(${content}, ${index})`;
    });
}

/** Over so many connections, which take one batch after another from one pile, as those below do. */
export function writeJson(connections: number): Writer {
  return (url, batches) =>
    timed(url, connections, (sessions) =>
      fromOnePile(sessions, batches, (sql, { body }) => sql`select bench.write_json(${body})`),
    );
}

/** The product as an operator calls it: each answer is a run of its own. */
export const applyByHand: Writer = (url, batches) =>
  timed(url, 1, async ([sql]) => {
    for (const { ids, body } of batches) {
      await sql!`
        select identity_sync.apply_identity_response(
          body => ${body}, requested => ${`{${ids}}`}::text::integer[], origin => 'consumer:lml-bulk')`;
    }
  });

const LANE = 'bench:1:1';

/** A claimed batch and LML's answer. */
export interface Answered {
  batchId: string;
  body: string;
}

/**
 * Plans a run over every canonicalized row and claims all of it, in batches of one size as the other ways write them, and
 * composes what LML answers: all that a lane does before an answer is there.
 */
export async function claimAll(url: string, content: Content): Promise<Answered[]> {
  const sql = connect(url);
  const answered: Answered[] = [];
  try {
    const [{ run }] = await sql<[{ run: string }]>`
      select identity_sync.plan_identity_run(
        scope => 'refresh', batch_size => ${BATCH_SIZE}, va_batch_size => ${BATCH_SIZE}, accept => '{changed}') as run`;
    for (;;) {
      const [claimed]: { batch_id: string | null; request: string }[] = await sql`
        select batch_id, request from identity_sync.claim_identity_batch(
          run_id => ${run}, leased_by => ${LANE}, concurrency => 32, lease_ms => 3600000,
          answered => ${answered.at(-1)?.batchId ?? null}::bigint)`;
      // Once all are claimed there is none, but a pause until some lease ends.
      if (!claimed?.batch_id) return answered;
      const { inputs } = JSON.parse(claimed.request) as { inputs: { library_id: number }[] };
      const ids = inputs.map((input) => input.library_id);
      answered.push({ batchId: claimed.batch_id, body: answerText(ids, content) });
    }
  } finally {
    await sql.end();
  }
}

/** The product as its lanes call it, over so many connections. */
export const finishCalls = (url: string, answered: Answered[], connections: number): Promise<Usage> =>
  timed(url, connections, (sessions) =>
    fromOnePile(sessions, answered, async (sql, { batchId, body }) => {
      const [{ outcome }] = await sql<[{ outcome: string }]>`
        select outcome from identity_sync.finish_identity_call(
          batch_id => ${batchId}, leased_by => ${LANE}, http_status => 200, body => ${body}, failure => null,
          latency_ms => 1900)`;
      if (outcome !== 'applied') throw new Error(`a batch was ${outcome}`);
    }),
  );

async function fromOnePile<Item>(
  sessions: postgres.Sql[],
  items: Item[],
  write: (sql: postgres.Sql, item: Item) => Promise<unknown>,
): Promise<void> {
  const pile = items.values();
  await Promise.all(
    sessions.map(async (sql) => {
      for (const item of pile) await write(sql, item);
    }),
  );
}

async function timed(
  url: string,
  connections: number,
  work: (sessions: postgres.Sql[]) => Promise<void>,
): Promise<Usage> {
  const sessions = Array.from({ length: connections }, () => connect(url));
  try {
    await Promise.all(sessions.map((sql) => sql`select`));
    const cpuBefore = process.cpuUsage();
    const started = performance.now();
    await work(sessions);
    const seconds = (performance.now() - started) / 1000;
    const { user, system } = process.cpuUsage(cpuBefore);
    return { seconds, nodeCpuSeconds: (user + system) / 1e6, nodeMegabytes: null };
  } finally {
    await Promise.all(sessions.map((sql) => sql.end()));
  }
}
