// The tables as the database has them and as the model has them, in one shape, so that they can be compared.
import type postgres from 'postgres';
import type { Fields } from './judge.js';
import type { Model } from './model.js';

/** What stands for a time in milliseconds where two times are compared. */
export type Time = (at: number) => unknown;

export function expectedTables(model: Model, time: Time) {
  const rows = <Value>(map: Map<number, Value>) => [...map].sort(([one], [other]) => one - other);
  return {
    identities: rows(model.identities).map(([id, row]) => [id, { ...row, verifiedAt: time(row.verifiedAt) }]),
    sources: rows(model.sources).flatMap(([id, sources]) =>
      [...sources]
        .sort(([one], [other]) => Buffer.compare(Buffer.from(one), Buffer.from(other)))
        .map(([source, row]) => [id, source, { ...row, verifiedAt: time(row.verifiedAt) }]),
    ),
    credits: rows(model.credits),
    history: rows(model.history),
    kept: rows(model.keptSources),
    marks: rows(model.marks).map(([id, { outcome, at, releasedAt }]) => [
      id,
      { outcome, at: time(at), isReleased: releasedAt !== null },
    ]),
    quarantine: model.quarantine
      .map(({ at, library, outcome, origin, strict }) => ({
        ...{ library, outcome, origin, strict },
        at: time(at),
      }))
      .sort(byLibrary),
    due: model.candidates('due'),
    dueWithAll: model.candidates('due', 0, 7, true),
    refresh: model.candidates('refresh'),
    recheck: model.candidates('recheck'),
  };
}

export async function storedTables(sql: postgres.ISql, time: Time) {
  const ms = (column: string) => sql`(extract(epoch from ${sql(column)}) * 1000)::float8`;
  const [row] = await sql<[{ all: Record<string, Fields[]> }]>`
    select jsonb_build_object(
      'identities', (
        select jsonb_agg(to_jsonb(i) || jsonb_build_object('at', ${ms('last_verified_at')}) order by library_id)
        from wxyc_schema.library_identity as i),
      'sources', (
        select jsonb_agg(
          to_jsonb(s) || jsonb_build_object('at', ${ms('last_verified_at')}) order by library_id, source collate "C")
        from wxyc_schema.library_identity_source as s),
      'credits', (select jsonb_agg(to_jsonb(c) order by id) from wxyc_schema.compilation_track_artist as c),
      'history', (
        select jsonb_agg(to_jsonb(h) order by library_id, reason_category) from (
          select library_id, reason_category, count(*) as rows from wxyc_schema.library_identity_history group by 1, 2
        ) as h),
      'kept', (
        select jsonb_agg(to_jsonb(k) order by library_id) from (
          select library_id, count(*) as rows from identity_sync.superseded_source
          where action <> 'inserted' group by 1) as k),
      'marks', (
        select jsonb_agg(to_jsonb(m) || jsonb_build_object('at', ${ms('attempted_at')}) order by library_id)
        from identity_sync.attempt as m),
      'quarantine', (
        select jsonb_agg(to_jsonb(q) || jsonb_build_object('at', ${ms('verified_at')}))
        from (select * from identity_sync.quarantined_verdict where closed_at is null) as q),
      'due', (select jsonb_agg(library_id order by library_id) from identity_sync.identity_candidates()),
      'dueWithAll', (
        select jsonb_agg(library_id order by library_id) from identity_sync.identity_candidates('due', 0, 7, true)),
      'refresh', (select jsonb_agg(library_id order by library_id) from identity_sync.identity_candidates('refresh')),
      'recheck', (select jsonb_agg(library_id order by library_id) from identity_sync.identity_candidates('recheck'))
    ) as all`;
  const all = row.all;
  const rows = (name: string) => (all[name] ?? []) as unknown as Row[];
  const history = new Map<number, Fields>();
  for (const { library_id, reason_category, rows: count } of rows('history'))
    history.set(library_id, { ...history.get(library_id), [reason_category]: count });
  return {
    identities: rows('identities').map((row) => [
      row.library_id,
      {
        ...pick(
          row,
          'discogs_artist_id',
          'musicbrainz_artist_id',
          'wikidata_qid',
          'spotify_id',
          'apple_music_id',
        ),
        ...pick(row, 'bandcamp_id', 'method', 'notes', 'discogs_release_id', 'agreement_sources'),
        confidence: Math.fround(row.confidence),
        verifiedAt: time(row.at),
      },
    ]),
    sources: rows('sources').map((row) => [
      row.library_id,
      row.source,
      {
        ...pick(row, 'external_id', 'method', 'notes', 'boost_sources'),
        confidence: Math.fround(row.confidence),
        verifiedAt: time(row.at),
      },
    ]),
    credits: rows('credits').map((row) => [
      row.id,
      {
        ...{ library: row.library_id, artist: row.artist_name, title: row.track_title },
        ...{ position: row.track_position, artistId: row.track_artist_id },
        confidence:
          row.track_artist_link_confidence === null ? null : Math.fround(row.track_artist_link_confidence),
        method: row.track_artist_link_method,
      },
    ]),
    history: [...history],
    kept: rows('kept').map(({ library_id, rows: count }) => [library_id, count]),
    marks: rows('marks').map(({ library_id, outcome, at, released_at }) => [
      library_id,
      { outcome, at: time(at), isReleased: released_at !== null },
    ]),
    quarantine: rows('quarantine')
      .map(({ library_id, outcome, at, origin, strict_bands }) => ({
        ...{ library: library_id, outcome, at: time(at), origin, strict: strict_bands },
      }))
      .sort(byLibrary),
    due: all.due ?? [],
    dueWithAll: all.dueWithAll ?? [],
    refresh: all.refresh ?? [],
    recheck: all.recheck ?? [],
  };
}

const pick = (row: Fields, ...columns: string[]) =>
  Object.fromEntries(columns.map((column) => [column, row[column]]));

/** What is read from one row or another of the tables. */
interface Row extends Fields {
  library_id: number;
  id: number;
  at: number;
  rows: number;
  confidence: number;
  track_artist_link_confidence: number | null;
  reason_category: string;
}

export const byLibrary = (one: { library: number | null; at: unknown }, other: typeof one) =>
  (one.library ?? -1e10) - (other.library ?? -1e10) || String(one.at).localeCompare(String(other.at));
