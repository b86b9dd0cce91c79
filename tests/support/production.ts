// Production as it is on the day the service moves in: the backend's tables, and identity tables that several have written.
import { readFile } from 'node:fs/promises';
import type postgres from 'postgres';
import type { Answer } from '../../src/demo/stand-in.js';

/** LML alone has spoken, by five sources. */
export const STEREOLAB = 900001;
/** Every column of the other writers is filled. */
export const CAT_POWER = 900002;
/** LML knows Spotify only; the other source rows are of other writers. */
export const YO_LA_TENGO = 900003;
/** LML's Discogs id is no number. */
export const SUN_RA = 900004;
/** Set by hand, through a repair. */
export const BROADCAST = 900005;
/** Set by hand, with the method that says so. */
export const NINA_SIMONE = 900006;
/** Known to the rotation job alone. */
export const THE_FALL = 900007;
/** Asked without success six days ago. */
export const COCTEAU_TWINS = 900008;
/** Asked without success, and identified since. */
export const CAN = 900009;
/** Identified long ago, asked without success since. */
export const NEU = 900010;

const file = (url: string) => readFile(new URL(url, import.meta.url), 'utf8');

/** Makes production's tables as the role that will own them, with so many records beside those that have a story. */
export async function buildProduction(owner: postgres.Sql, records: number): Promise<void> {
  await owner.begin(async (tx) => {
    await tx.unsafe(await file('../../src/demo/backend.sql'));
    await tx.unsafe(await file('production.sql'));
    await tx`select pg_temp.identify(${records})`;
    await tx.unsafe(await file('../../src/demo/guard.sql'));
    // A watcher of compilation_track_artist is as loud.
    await tx`
      create trigger forbid_track_writes
      before insert or update or delete or truncate on wxyc_schema.compilation_track_artist
      for each statement execute function wxyc_schema.forbid_library_writes()`;
  });
  await owner`analyze`;
}

/**
 * LML on a day on which it changes its mind about nothing: each answer is composed from the source rows that the service
 * wrote, and so does not know of the columns that the migration fills from them. Rows set by hand it sees otherwise.
 */
export function confirmEverything(sql: postgres.Sql): Answer {
  return async ({ inputs }) => {
    const ids = inputs.map((input) => input.library_id);
    const [row] = await sql<[{ body: string }]>`
      with said as (
        select
          library_id,
          jsonb_agg(
            jsonb_build_object(
              'source', source, 'external_id', external_id, 'method', method, 'confidence', confidence::double precision
            )
          ) as provenance,
          max(external_id) filter (where source = 'discogs') as discogs,
          max(external_id) filter (where source = 'musicbrainz') as musicbrainz,
          max(external_id) filter (where source = 'bandcamp') as bandcamp
        from wxyc_schema.library_identity_source
        where library_id = any (${ids}) and notes = 'consumer:lml-bulk'
        group by library_id
      )
      select jsonb_build_object('results', jsonb_agg(
        case
          when known.notes = 'consumer:lml-bulk' then jsonb_build_object(
            'kind', 'single_artist', 'library_id', id, 'method', known.method,
            -- As float4 shows on the wire: 0.97 comes as 0.9700000286102295.
            'confidence', known.confidence::double precision,
            'main', jsonb_build_object(
              'discogs_artist_id', case when said.discogs ~ '^\\d+$' then said.discogs::integer end,
              'musicbrainz_artist_id', said.musicbrainz, 'bandcamp_id', said.bandcamp,
              'wikidata_qid', known.wikidata_qid, 'spotify_artist_id', known.spotify_id,
              'apple_music_artist_id', known.apple_music_id
            ),
            'provenance', coalesce(said.provenance, '[]')
          )
          when known.notes like 'repair:%' or known.method = 'manual' then jsonb_build_object(
            'kind', 'single_artist', 'library_id', id, 'method', 'trigram', 'confidence', 0.7,
            'main', jsonb_build_object('spotify_artist_id', 'a-guess'), 'provenance', '[]'::jsonb
          )
          else jsonb_build_object(
            'kind', 'unresolved', 'library_id', id, 'method', null, 'confidence', null,
            'main', null, 'provenance', '[]'::jsonb
          )
        end
      ))::text as body
      from unnest(${ids}::integer[]) as id
      left join wxyc_schema.library_identity as known on known.library_id = id
      left join said on said.library_id = id`;
    return { body: row.body };
  };
}

/** Every row of the station's tables, less the columns named: equal before and after means that no value changed. */
export async function stationRows(
  sql: postgres.Sql,
  less: string[] = [],
): Promise<Record<string, unknown[]>> {
  const tables = await sql<{ name: string }[]>`
    select tablename as name from pg_tables where schemaname = 'wxyc_schema' order by tablename`;
  const rows = await Promise.all(
    tables.map(async ({ name }) => {
      const [table] = await sql<[{ rows: unknown[] }]>`
        select coalesce(jsonb_agg(to_jsonb(stored) - ${less}::text[] order by stored::text), '[]') as rows
        from ${sql(`wxyc_schema.${name}`)} as stored`;
      return [name, table.rows];
    }),
  );
  return Object.fromEntries(rows);
}
