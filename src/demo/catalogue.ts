import { readFileSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { gunzipSync } from 'node:zlib';
import type postgres from 'postgres';

// From src and from dist alike, since the compiler carries TypeScript only.
const here = new URL('../../src/demo/', import.meta.url);

const sqlFile = (name: string) => readFileSync(new URL(name, here), 'utf8');

/**
 * Creates the backend's tables and fills them with the station's catalogue, or with its first `rows` rows.
 * The file is in COPY's own format, so the rows go through untouched; what the dump lacks is set in `load.sql`.
 * All in one transaction: a database has the catalogue or nothing of it.
 */
export async function loadCatalogue(sql: postgres.Sql, options: { rows?: number } = {}): Promise<void> {
  const dump = gunzipSync(readFileSync(new URL('data/library.tsv.gz', here))).toString();
  const wanted = options.rows === undefined ? dump : firstLines(dump, options.rows);

  await sql.begin(async (tx) => {
    await tx.unsafe(sqlFile('backend.sql'));
    await tx.unsafe(sqlFile('dump.sql'));
    await pipeline([wanted], await tx`copy pg_temp.dump from stdin`.writable());
    await tx.unsafe(sqlFile('load.sql'));
  });
}

/** Adds real compilations, which are no holdings, with an artist for each track; `compilations.sql` states the rules. */
export async function loadCompilationCredits(sql: postgres.Sql): Promise<void> {
  const releases = gunzipSync(readFileSync(new URL('data/compilations.json.gz', here))).toString();
  await sql.begin(async (tx) => {
    await tx`
      create temp table release on commit drop as
      select discogs_release_id, artist_name, album_title, tracks
      from jsonb_to_recordset(${releases}::text::jsonb) as release (
        discogs_release_id integer, artist_name text, album_title text, tracks jsonb
      )`;
    await tx.unsafe(sqlFile('compilations.sql'));
  });
}

/** From here on every write to `library` fails, as the service promises never to make one. */
export async function guardLibrary(sql: postgres.Sql): Promise<void> {
  await sql.unsafe(sqlFile('guard.sql'));
}

const firstLines = (text: string, count: number) => text.split('\n').slice(0, count).join('\n');
