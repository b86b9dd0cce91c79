// What the tests of track links share: compilations of the station with real credits, answers about them, and readers.
import type postgres from 'postgres';
import { beforeEach } from 'vitest';
import { shelveRows } from './catalogue.js';
import { type Circumstances, compilation, type Fields, SERVICE, useWriter } from './writer.js';

// Real releases credited to various artists, by the ids that the library gives them here.
export const FORRO = 61001;
export const GYPSY = 61002;
export const YOUTH = 61003;

export const RELEASES = [
  { id: FORRO, album_title: 'Brazil Classics 3 - Forró Etc.' },
  { id: GYPSY, album_title: 'Цыганские Песни' },
  { id: YOUTH, album_title: 'شباب ٢٠٠٠  = Youth 2000.. Vol 1' },
];

/** What LML says of one track: resolved to the artist credited, unless said otherwise. */
export function track(artist_name: unknown, track_title: unknown, changes: Fields = {}): Fields {
  return {
    track_position: null,
    artist_name,
    track_title,
    resolved_artist_name: artist_name,
    confidence: 1,
    method: 'exact_match',
    sources: [],
    ...changes,
  };
}

/** The same where the matcher tried and failed. */
export function missed(artist_name: unknown, track_title: unknown, changes: Fields = {}): Fields {
  return track(artist_name, track_title, {
    resolved_artist_name: null,
    confidence: null,
    method: null,
    ...changes,
  });
}

/** What LML says of a compilation whose tracks its matcher has visited. */
export function visited(library_id: number, tracks: unknown[], changes: Fields = {}): Fields {
  return compilation(library_id, { tracks_attempted: true, tracks, ...changes });
}

/** LML's whole answer, which alone carries a version. */
export function answer(verdicts: Fields[], tracks_contract_version: unknown = 1): Fields {
  return { results: verdicts, cache_stats: null, tracks_contract_version };
}

export const LINKED = { track_artist_link_confidence: 1, track_artist_link_method: 'lml_backfill' };
export const UNLINKED = {
  track_artist_id: null,
  track_artist_link_confidence: null,
  track_artist_link_method: null,
};

/** Gives the calling file the writer's database with three compilations in it, none of them credited yet. */
export function useTracks() {
  const writer = useWriter();

  beforeEach(async () => {
    await writer.sql`delete from identity_sync.superseded_track_link`;
    // The writer's catalogue names its one artist by id.
    await writer.sql`select setval('wxyc_schema.artists_id_seq', 1)`;
    await shelveRows(
      writer.sql,
      RELEASES.map((release) => ({
        ...release,
        artist_name: 'Various Artists',
        canonical_entity_id: 'artist:1',
        code_volume_letters: 'Z',
      })),
    );
  });

  return {
    writer,
    get sql() {
      return writer.sql;
    },

    /** Puts an artist into the catalogue. */
    async artist(artist_name: string): Promise<number> {
      const [row] = await writer.sql<[{ id: number }]>`
        insert into wxyc_schema.artists (artist_name) values (${artist_name}) returning id`;
      return row.id;
    },

    /** Credits an artist with a track of a compilation. */
    async credit(
      library_id: number,
      artist_name: string,
      track_title: string | null,
      changes: Fields = {},
    ): Promise<number> {
      const row = { library_id, artist_name, track_title, ...changes };
      const [credited] = await writer.sql<[{ id: number }]>`
        insert into wxyc_schema.compilation_track_artist ${writer.sql(row)} returning id`;
      return credited.id;
    },

    /** The link of a credit. */
    async link(id: number): Promise<Fields> {
      const [row] = await writer.sql`
        select track_artist_id, track_artist_link_confidence, track_artist_link_method
        from wxyc_schema.compilation_track_artist where id = ${id}`;
      return { ...row };
    },

    async position(id: number): Promise<string | null> {
      const [row] = await writer.sql<[{ track_position: string | null }]>`
        select track_position from wxyc_schema.compilation_track_artist where id = ${id}`;
      return row.track_position;
    },

    /** What links were before, the oldest first. */
    async superseded(): Promise<Fields[]> {
      const rows = await writer.sql`
        select credit_id, library_id, action, track_artist_id, track_artist_link_confidence, track_artist_link_method,
          track_position
        from identity_sync.superseded_track_link order by settlement_id, credit_id`;
      return [...rows];
    },

    /** Applies an answer of the service about one compilation and returns the counts of its tracks that are not 0. */
    async apply(library_id: number, tracks: unknown[], circumstances: Circumstances = {}): Promise<Fields> {
      const report = await writer.apply(answer([visited(library_id, tracks)]), {
        requested: [library_id],
        origin: SERVICE,
        ...circumstances,
      });
      return counted(report.compilation_track);
    },

    /** From here on every UPDATE of the credits leaves a line, also one that touches no row. */
    async watchUpdates(): Promise<() => Promise<number>> {
      await writer.sql.unsafe(`
        create table station.seen (statement text);
        create function station.see() returns trigger language plpgsql as
        'begin insert into station.seen values (current_query()); return null; end';
        create trigger see after update on wxyc_schema.compilation_track_artist
        for each statement execute function station.see();`);
      return async () => {
        const [seen] = await writer.sql<[{ updates: number }]>`
          select count(*)::integer as updates from station.seen`;
        return seen.updates;
      };
    },
  };
}

export type Tracks = ReturnType<typeof useTracks>;

/** The counts that are not 0. */
export function counted(counts: object): Fields {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count !== 0));
}

/** Every credit there is, column by column, with the transaction that wrote it. */
export async function credits(sql: postgres.Sql): Promise<Fields[]> {
  return [...(await sql`select *, xmin::text from wxyc_schema.compilation_track_artist order by id`)];
}
