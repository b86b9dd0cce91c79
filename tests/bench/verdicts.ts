// What LML says in the benchmark: the same in every run, of the shape and the lengths of the stand-in's answers.
import { createHash } from 'node:crypto';
import { type ArtistIdentity, identityVerdict, type Result } from '../../src/demo/stand-in.js';

/** What the verdicts say: at first, with every hundredth of them changed, or with all of them changed. */
export type Content = 'original' | 'touched' | 'renewed';

/** The verdicts of one call. */
export interface Batch {
  ids: number[];
  body: string;
}

export const BATCH_SIZE = 500;

// So many verdicts differ; they come again under higher ids. A multiple of every period below.
export const SHAPES = 100_000;

const shaped = new Map<string, [head: string, tail: string]>();

/** One tenth of the catalogue are compilations that LML has not visited yet, one twentieth LML does not know. */
export function kindOf(id: number): Result['kind'] {
  if (id % 10 === 0) return 'compilation';
  return id % 20 === 1 ? 'unresolved' : 'single_artist';
}

/** The same rule as `kindOf`, over a column `id`. */
export const KIND_SQL = `
  case when id % 10 = 0 then 'compilation' when id % 20 = 1 then 'unresolved' else 'single_artist' end`;

/** LML's whole answer to a call that asked for these libraries. */
export function answerText(ids: number[], content: Content): string {
  const results = ids.map((id) => {
    const [head, tail] = resultParts(id % SHAPES, content);
    return head + id + tail;
  });
  return `{"results":[${results.join(',')}],"cache_stats":null,"tracks_contract_version":null}`;
}

/** The catalogue's first rows in batches of full size. */
export function batchesOf(rows: number, content: Content): Batch[] {
  return Array.from({ length: Math.ceil(rows / BATCH_SIZE) }, (_, index) => {
    const first = index * BATCH_SIZE + 1;
    const ids = Array.from({ length: Math.min(BATCH_SIZE, rows - first + 1) }, (_, offset) => first + offset);
    return { ids, body: answerText(ids, content) };
  });
}

/** A result's text before and after its library's id, composed once. */
function resultParts(shape: number, content: Content): [string, string] {
  const changed = content === 'renewed' || (content === 'touched' && shape % 100 === 7);
  const edition = changed ? content : 'original';
  const key = `${shape} ${edition}`;
  let parts = shaped.get(key);
  if (!parts) {
    const [head, tail] = JSON.stringify(verdictOn(shape, edition)).split('"library_id":0');
    parts = [`${head}"library_id":`, tail!];
    shaped.set(key, parts);
  }
  return parts;
}

/** Method and confidence are the stand-in's draw from the artist's name, and so the same in every edition. */
function verdictOn(shape: number, edition: Content): Result {
  const kind = kindOf(shape);
  const artist_name = kind === 'compilation' ? 'Various Artists' : `Artist ${shape}`;
  const stored =
    kind === 'single_artist' ? [[artist_name, identityOf(shape, edition, artist_name)] as const] : [];
  return identityVerdict({ library_id: 0, artist_name, album_title: '' }, new Map(stored), true);
}

/** Three to five of the six sources know the artist, and another edition gives each of them another id. */
function identityOf(shape: number, edition: Content, artist_name: string): ArtistIdentity {
  const [chance = 0, start = 0] = hash(`${shape}`);
  const sources = 3 + (chance % 3);
  const drawn = hash(`${shape} ${edition}`);
  const hex = drawn.toString('hex');
  const known = <Id>(index: number, id: Id) => ((index + start) % 6 < sources ? id : null);
  return {
    artist_name,
    discogs_artist_id: known(0, 1 + (drawn.readUInt32BE(0) % 9_000_000)),
    musicbrainz_artist_id: known(1, hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12}).*/, '$1-$2-$3-$4-$5')),
    wikidata_qid: known(2, `Q${1 + (drawn.readUInt32BE(4) % 120_000_000)}`),
    spotify_artist_id: known(3, drawn.toString('base64url').replaceAll(/[-_]/g, 'x').slice(0, 22)),
    apple_music_artist_id: known(4, `${1 + (drawn.readUInt32BE(8) % 1_700_000_000)}`),
    bandcamp_id: known(5, hex.slice(-6 - (drawn[0]! % 13))),
  };
}

const hash = (text: string) => createHash('sha256').update(text).digest();
