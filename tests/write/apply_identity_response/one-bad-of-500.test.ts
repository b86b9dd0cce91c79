// One bad verdict never costs another: an answer of 500, of which one is bad, in every way of being bad.
import { beforeEach, expect, test } from 'vitest';
import { shelveRows } from '../../support/catalogue.js';
import {
  compilation,
  DILATE,
  leg,
  MONDAY,
  type Report,
  SERVICE,
  singleArtist,
  TUESDAY,
  toText,
  unresolved,
  useWriter,
  Verbatim,
  withMain,
} from '../../support/writer.js';

const writer = useWriter();

const BAD = 250;
const IDS = Array.from({ length: 500 }, (_, index) => index + 1);
const good = singleArtist(BAD);

type Outcome = keyof Report['rows_skipped'];
type Prepare = () => Promise<unknown>;

const ways: [way: string, outcome: Outcome, bad: unknown[], prepare?: Prepare][] = [
  ...Object.entries({
    'no object': null,
    'a number': 7,
    'a list': [good],
    'without an id': { ...good, library_id: undefined },
    'with an id of the wrong type': { ...good, library_id: String(BAD) },
    'with an id that is no integer': { ...good, library_id: new Verbatim('250.5') },
    'with an id beyond all bounds': { ...good, library_id: new Verbatim('1e400') },
    'without a kind': { ...good, kind: undefined },
    'of an unknown kind': { ...good, kind: 'artist' },
    'without a main': { ...good, main: null },
    'unresolved with a main': unresolved(BAD, { main: {} }),
    'a compilation with a main': compilation(BAD, { main: {} }),
    'with a Discogs id of the wrong type': withMain(good, { discogs_artist_id: '250' }),
    'with a Discogs id out of range': withMain(good, { discogs_artist_id: 2147483648 }),
    'with a Discogs id beyond all bounds': withMain(good, { discogs_artist_id: new Verbatim('1e400') }),
    'with an id that is empty': withMain(good, { wikidata_qid: '' }),
    'with an id that is too long': withMain(good, { wikidata_qid: 'Q'.repeat(100_000) }),
    'without a method': { ...good, method: null },
    'of a method too long to be one': { ...good, method: 'x'.repeat(65) },
    'unresolved with a method': unresolved(BAD, { method: 'llm' }),
    'without a confidence': { ...good, confidence: null },
    'with a confidence of the wrong type': { ...good, confidence: '0.9' },
    'with a confidence out of range': { ...good, confidence: 1.01 },
    'with a confidence beyond all bounds': { ...good, confidence: new Verbatim('1e400') },
    'with a confidence that jsonb does not take': { ...good, confidence: new Verbatim('1e999999') },
    'without provenance': { ...good, provenance: undefined },
    'with provenance of the wrong type': { ...good, provenance: {} },
    'with a source that is no object': { ...good, provenance: [null] },
    'with a source too long to be one': { ...good, provenance: [leg('x'.repeat(65), '1')] },
    'with a source of a blank method': { ...good, provenance: [leg('discogs', '1', { method: ' ' })] },
    'with a source of no external id': { ...good, provenance: [leg('discogs', null)] },
    'with a source of no confidence': { ...good, provenance: [leg('discogs', '1', { confidence: null })] },
    'with a source out of range': { ...good, provenance: [leg('discogs', '1', { confidence: -1 })] },
    'with an external id of the wrong type': { ...good, provenance: [leg('discogs', 250)] },
    'with tracks_attempted of the wrong type': { ...good, tracks_attempted: 1 },
    'with tracks of the wrong type': { ...good, tracks: {} },
    'with a NUL': withMain(good, { bandcamp_id: new Verbatim(String.raw`"\u0000"`) }),
    'with a lone surrogate': withMain(good, { bandcamp_id: new Verbatim(String.raw`"\udfb7"`) }),
    'with a NUL in a name': { ...good, main: new Verbatim(String.raw`{"\u0000": 1}`) },
    'nested deeply': { ...good, confidence: new Verbatim('['.repeat(1_000) + ']'.repeat(1_000)) },
  }).map(([way, bad]): [string, Outcome, unknown[]] => [way, 'invalid_verdict', [bad]]),
  ['missing', 'lml_cardinality_mismatch', []],
  ['of an id that was not asked', 'lml_untrusted_library_id', [{ ...good, library_id: DILATE }]],
  ['named twice', 'lml_untrusted_library_id', [good, good]],
  ['a compilation', 'compilation', [compilation(BAD)]],
  ['of a record set by hand', 'manual_precedence', [good], () => writer.repair([good])],
  ['older than its record', 'stale_verdict', [good], () => writer.service([good], { verifiedAt: TUESDAY })],
  [
    'of a record that has left the library',
    'library_gone',
    [good],
    () => writer.sql`delete from wxyc_schema.library where id = ${BAD}`,
  ],
  [
    'refused by somebody else’s constraint',
    'writer_error',
    [good],
    () =>
      writer.sql.unsafe(`
        create function station.approves(id integer) returns boolean language sql return id <> ${BAD};
        alter table wxyc_schema.library_identity add check (station.approves(library_id));`),
  ],
];

beforeEach(() =>
  shelveRows(
    writer.sql,
    IDS.map((id) => ({ id })),
  ),
);

test.each(ways)('499 are written where one is %s', async (_, outcome, bad, prepare) => {
  await prepare?.();
  const results: unknown[] = IDS.map((id) => singleArtist(id));
  results.splice(BAD - 1, 1, ...bad);

  const report = await writer.applyText(toText({ results }), {
    requested: IDS,
    origin: SERVICE,
    verifiedAt: MONDAY,
  });

  expect(report.rows_skipped[outcome]).toBe(1);
  const written = await writer.sql<{ library_id: number }[]>`
    select library_id
    from wxyc_schema.library_identity
    join wxyc_schema.library_identity_source using (library_id)
    where discogs_artist_id is not null and library_identity.last_verified_at = ${MONDAY}
      and library_identity.notes = ${SERVICE}
    group by library_id
    having count(*) = 2`;
  const others = new Set(written.map(({ library_id }) => library_id));
  others.delete(BAD);
  expect(others.size).toBe(499);
});
