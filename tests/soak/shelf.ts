// What stands on the shelf when the soak begins, the logins of those who work on it, and the journal of what is done
// by hand: a row in the transaction of each act, so that it is there exactly where the act was committed.
import type postgres from 'postgres';
import type { Sql } from '../../src/database/connect.js';
import { type Credit, Model, REFUSED_DISCOGS_ID, REFUSED_EXTERNAL_ID } from '../model/model.js';
import { ownWords } from '../support/pending.js';
import { withoutPsql } from '../support/psql.js';
import { applyDefinitions, readText } from '../support/repository.js';
import type { Chance } from './random.js';

/** LML refuses every input of this artist. */
export const POISON = 'Poison';

const NAMES = Array.from({ length: 50 }, (_, index) => `Artist ${index}`);
/** What a record's artist may be called. */
export const ARTIST_NAMES = [...NAMES, 'Thom Yorke', 'Björk', 'Various', 'Various Artists', POISON];

const KNOWN_ARTISTS = ['Unnamed', 'Thom Yorke', 'Björk', 'Twin', 'TWIN'];
const CREDITS = [
  ['Ani DiFranco', null, null, null],
  ['Thom Yorke', 'Analyse', null, null],
  ['Björk', 'Jóga', 'B1', 'librarian'],
] as const;

export interface Logins {
  worker: string;
  operator: string;
  backend: string;
}

/** Shelves so many records, a seventh of them compilations, and gives everybody a login. */
export async function shelve(sql: postgres.Sql, url: string, count: number, chance: Chance): Promise<Logins> {
  // The functions as they are on disk.
  await sql.unsafe(ownWords(readText('migrations/current.sql')));
  await applyDefinitions(sql);
  await sql`insert into wxyc_schema.artists ${sql(KNOWN_ARTISTS.map((artist_name) => ({ artist_name })))}`;
  for (let number = 0; number < count; number++) await shelveOne(sql, number, chance);
  await sql.unsafe(`
    alter table wxyc_schema.library_identity add check (discogs_artist_id <> ${REFUSED_DISCOGS_ID});
    alter table wxyc_schema.library_identity_source add check (external_id <> '${REFUSED_EXTERNAL_ID}');
    create schema soak;
    create table soak.act (
      act_id bigint generated always as identity primary key,
      kind text not null,
      ids integer[] not null,
      args jsonb not null,
      result jsonb,
      began timestamptz not null default now()
    );
    create table soak.gone (id integer primary key, record jsonb not null);
    create role soak_worker login password 'soak';
    create role soak_operator login password 'soak';
    create role soak_backend login password 'soak';
    alter role soak_backend set lock_timeout = '750ms';
    grant usage on schema soak, wxyc_schema to soak_operator, soak_backend, soak_worker;
    grant insert on soak.act to soak_operator, soak_backend, soak_worker;
    grant all on soak.gone to soak_backend;
    grant all on all tables in schema wxyc_schema to soak_backend;
    grant usage on all sequences in schema wxyc_schema to soak_backend;
    grant pg_signal_backend to soak_backend;`);
  for (const login of [{ worker: 'soak_worker' }, { operator: 'soak_operator' }]) {
    await sql.unsafe(withoutPsql(readText('sql/roles.sql'), { ...login, DBNAME: 'postgres' }));
  }
  const loginOf = (username: string) => Object.assign(new URL(url), { username, password: 'soak' }).href;
  return {
    worker: loginOf('soak_worker'),
    operator: loginOf('soak_operator'),
    backend: loginOf('soak_backend'),
  };
}

/** Puts one record on the shelf, and returns its id. */
export async function shelveOne(sql: Sql, number: number, chance: Chance): Promise<number> {
  const isCompilation = chance.is(1 / 7);
  const [library] = await sql<[{ id: number }]>`
    insert into wxyc_schema.library (
      artist_id, legacy_release_id, album_title, artist_name, code_volume_letters, canonical_entity_id
    )
    values (
      1, ${number}, ${`Album ${number}`}, ${chance.of(ARTIST_NAMES)}, ${isCompilation ? 'ZA' : null},
      ${chance.is(0.85) ? 'artist:1' : null}
    )
    returning id`;
  if (!isCompilation) return library.id;
  for (const [artist, title, position, method] of CREDITS) {
    await sql`
      insert into wxyc_schema.compilation_track_artist (
        library_id, artist_name, track_title, track_position, track_artist_id, track_artist_link_method
      )
      values (${library.id}, ${artist}, ${title}, ${position}, ${method ? 3 : null}, ${method})`;
  }
  return library.id;
}

/** A record with its credits, as the model takes it; null: all of them. */
export const readShelved = (sql: Sql, id: number | null) => sql<Shelved[]>`
  select
    library.id, library.artist_name as artist, library.album_title as title, library.code_volume_letters as letters,
    library.canonical_entity_id is not null as "isCanonical",
    (
      select coalesce(json_object_agg(credit.id, json_build_object(
        'library', library_id, 'artist', credit.artist_name, 'title', track_title, 'position', track_position,
        'artistId', track_artist_id, 'confidence', track_artist_link_confidence, 'method', track_artist_link_method
      )), '{}')
      from wxyc_schema.compilation_track_artist as credit
      where credit.library_id = library.id
    ) as credits
  from wxyc_schema.library
  where library.id = coalesce(${id}, library.id)`;

export interface Shelved {
  id: number;
  artist: string | null;
  title: string;
  letters: string | null;
  isCanonical: boolean;
  credits: Record<string, Credit>;
}

export function shelveInModel(model: Model, { id, credits, ...library }: Shelved): void {
  model.libraries.set(id, library);
  for (const [creditId, credit] of Object.entries(credits)) model.credits.set(Number(creditId), credit);
}

/** The model of the shelf as it is now. */
export async function modelOf(sql: postgres.Sql): Promise<Model> {
  const model = new Model(Date.now(), new Map(KNOWN_ARTISTS.map((name, index) => [index + 1, name])));
  for (const shelved of await readShelved(sql, null)) shelveInModel(model, shelved);
  return model;
}
