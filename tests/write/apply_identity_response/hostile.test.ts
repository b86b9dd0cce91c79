// An answer costs what its bytes cost, whatever it says: these once took minutes, gigabytes, or all other verdicts.
import { expect, test } from 'vitest';
import { call } from '../../support/catalogue.js';
import {
  DILATE,
  ERASER,
  MONDAY,
  SANGOMA,
  SERVICE,
  singleArtist,
  toText,
  useWriter,
  Verbatim,
} from '../../support/writer.js';

const writer = useWriter();

const asked = { requested: [DILATE, ERASER], origin: SERVICE, verifiedAt: MONDAY };
const bombs = new Verbatim(`[${'1e131071,'.repeat(9000)}1]`);
const good = singleArtist(DILATE);

test.each([
  ['the kind', singleArtist(ERASER, { kind: bombs }), 'kind is an array of 9001 elements'],
  ['the method', singleArtist(ERASER, { method: bombs }), 'method is an array of 9001 elements'],
  [
    'an id',
    singleArtist(ERASER, { main: { wikidata_qid: bombs } }),
    'main.wikidata_qid is an array of 9001 elements',
  ],
  [
    'a source',
    singleArtist(ERASER, { provenance: [{ source: bombs }] }),
    'provenance[0].source is an array of',
  ],
  [
    'the provenance',
    singleArtist(ERASER, { provenance: { a: bombs } }),
    'provenance is an object of 1 fields',
  ],
  ['an unknown field', singleArtist(ERASER, { kind: 'x', note: bombs }), 'kind is "x"'],
])(
  'numbers of 131,072 digits cost their verdict alone, in %s, and can be shown and replayed',
  async (_, verdict, reason) => {
    const report = await writer.applyText(toText({ results: [good, verdict] }), asked);

    expect(report).toMatchObject({ rows_resolved: 1, rows_skipped: { invalid_verdict: 1 } });
    for (const again of [false, true]) {
      if (again) await call(writer.sql, 'replay_quarantined_verdicts');
      const [entry] = await writer.quarantine();
      expect(entry!.reason).toContain(reason);
      expect((entry!.verdict as string).match(/1\.0+e\+131071/g)).toHaveLength(9000);
      expect(await writer.sql`select * from identity_sync.quarantined_verdict`).toHaveLength(again ? 2 : 1);
    }
  },
);

test('numbers of 131,072 digits outside of the results cost nothing', async () => {
  const body = toText({ results: [good], cache_stats: { a: bombs }, tracks_contract_version: bombs });
  expect(await writer.applyText(body, asked)).toMatchObject({ rows_resolved: 1 });
});

test('in a track they cost the track alone', async () => {
  const tracks = [
    { artist_name: bombs },
    { artist_name: 'a', track_title: bombs },
    { artist_name: 'Nobody' },
  ];
  const body = toText({
    results: [
      { ...good, kind: 'compilation', main: null, method: null, confidence: null, provenance: [], tracks },
    ],
    tracks_contract_version: 1,
  });
  expect(await writer.applyText(body, asked)).toMatchObject({
    rows_resolved_compilation: 1,
    compilation_track: { unusable: 2 },
  });
});

test('10,000 results that name one id leave one open entry', async () => {
  const results = [good, ...Array.from({ length: 9_999 }, () => good)];
  const report = await writer.applyText(toText({ results }), asked);
  expect(report).toMatchObject({ rows_resolved: 1, rows_skipped: { lml_untrusted_library_id: 9_999 } });
  expect(await writer.quarantine()).toHaveLength(1);
});

test('an escape under 400 levels beside a megabyte costs its verdict alone, and its path has an end', async () => {
  const note = new Verbatim(`${'['.repeat(400)}"${'x'.repeat(1e6)}","\\u0000"${']'.repeat(400)}`);
  const report = await writer.applyText(toText({ results: [singleArtist(ERASER, { note }), good] }), asked);
  expect(report).toMatchObject({ rows_resolved: 1, rows_skipped: { invalid_verdict: 1 } });
  const [entry] = await writer.quarantine();
  expect(entry!.path).toMatch(/^note(\[0\]){10,20}…$/);
});

test('200,000 escapes in one string cost their verdict alone', async () => {
  for (const refused of ['\\u0000', '\\ud83c', '\\udfb7']) {
    const note = new Verbatim(`"${refused.repeat(200_000)}"`);
    const body = toText({ results: [singleArtist(ERASER, { note }), good] });
    expect(await writer.applyText(body, asked)).toMatchObject({
      rows_resolved: 1,
      rows_skipped: { invalid_verdict: 1 },
    });
    const [entry] = await writer.quarantine();
    expect(entry!.verdict).toBe(toText(singleArtist(ERASER, { note })));
    await writer.repair([singleArtist(ERASER)]);
  }
});

test.each([
  ['of 24 MB', () => toText({ results: [singleArtist(DILATE, { note: 'x'.repeat(24e6) })] })],
  ['of 5,000,000 values', () => `{"results":[${toText(good).slice(0, -1)},"note":[${'1,'.repeat(5e6)}1]}]}`],
  ['of 200,000 results', () => `{"results":[${'{"a":"bcdef"},'.repeat(200_000)}{}]}`],
  [
    'of 17 MB that jsonb refuses',
    () => toText({ results: [singleArtist(DILATE, { note: new Verbatim(`"${'x'.repeat(17e6)}\\u0000"`) })] }),
  ],
])('an answer too rich is none: %s', async (_, body) => {
  const report = await writer.applyText(body(), { ...asked, requested: [DILATE, ERASER, SANGOMA] });
  expect(report).toMatchObject({ scanned: 3, rows_skipped: { lml_error: 3 } });
});
