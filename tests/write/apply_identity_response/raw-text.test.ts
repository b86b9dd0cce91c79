// The answer as it comes off the wire. Where jsonb cannot hold one of its strings or numbers, the results that it can
// hold are applied and the others set aside; where the text is no answer at all, nothing is known of any id.
import { beforeEach, describe, expect, test } from 'vitest';
import {
  DILATE,
  ERASER,
  type Fields,
  leg,
  MONDAY,
  reported,
  SANGOMA,
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

const asked = { requested: [DILATE, ERASER, SANGOMA], origin: SERVICE, verifiedAt: MONDAY };

const neighbours = { rows_resolved: 2, identity: { inserted: 2 }, source: { inserted: 4 } };

/** An answer whose second result of three is this one. */
const answer = (second: unknown) =>
  toText({ results: [singleArtist(DILATE), second, singleArtist(SANGOMA)], cache_stats: null });

/** What an operator sees of a verdict that was set aside. */
async function setAside() {
  const [entry, ...others] = await writer.quarantine();
  expect(others).toEqual([]);
  return entry!;
}

/** Escapes that a JSON text may hold and jsonb does not take, and how a refusal calls them. */
const ESCAPES = [
  ['a NUL', String.raw`\u0000`, String.raw`\u0000`],
  ['a NUL after a backslash', String.raw`\\\u0000`, String.raw`\u0000`],
  ['a high surrogate alone', String.raw`\ud83c`, String.raw`\ud83c`],
  ['a low surrogate alone', String.raw`\udfb7`, String.raw`\udfb7`],
  ['a pair the wrong way round', String.raw`\udfb7\ud83c`, String.raw`\udfb7`],
  ['two high surrogates', String.raw`\ud83c\uD83C`, String.raw`\ud83c`],
  ['a high surrogate before a pair', String.raw`\ud83c\ud83c\udfb7`, String.raw`\ud83c`],
  ['a low surrogate after a pair', String.raw`\ud83c\udfb7\uDFB7`, String.raw`\uDFB7`],
  ['a high surrogate before something else', String.raw`\ud83c\u0041`, String.raw`\ud83c`],
  ['a surrogate in capitals', String.raw`\uDBFF`, String.raw`\uDBFF`],
] as const;

describe.each(ESCAPES)('%s', (_, written, called) => {
  const text = new Verbatim(`"Ani ${written} DiFranco"`);

  test.each<[string, Fields, string]>([
    ['an id of the main row', withMain(singleArtist(ERASER), { bandcamp_id: text }), 'main.bandcamp_id'],
    [
      'an id of a source',
      singleArtist(ERASER, { provenance: [leg('discogs', '4854'), leg('spotify', text)] }),
      'provenance[1].external_id',
    ],
    ['an unknown field', singleArtist(ERASER, { note: text }), 'note'],
    ['a track', unresolved(ERASER, { tracks: [{ artist_name: text }] }), 'tracks[0].artist_name'],
  ])('in %s costs its verdict alone', async (_, verdict, path) => {
    const report = await writer.applyText(answer(verdict), asked);

    expect(report).toEqual(reported({ ...neighbours, rows_skipped: { invalid_verdict: 1 } }));
    expect(await setAside()).toEqual({
      library_id: ERASER,
      outcome: 'invalid_verdict',
      path,
      value: null,
      reason: `${path} holds text that PostgreSQL cannot store: the escape ${called}`,
      sqlstate: null,
      message: null,
      constraint_name: null,
      verdict: toText(verdict),
      origin: SERVICE,
      verified_at: MONDAY,
    });
    expect(await writer.attempts()).toEqual([
      { library_id: ERASER, outcome: 'invalid_verdict', attempted_at: MONDAY },
    ]);
    expect(await writer.identity(ERASER)).toBeUndefined();
  });
});

describe('an escape that jsonb does not take', () => {
  const NUL = String.raw`\u0000`;

  test('is found in a name, too', async () => {
    const body = answer(singleArtist(ERASER, { tidal: 1 })).replace('"tidal"', `"ti${NUL}dal"`);

    const report = await writer.applyText(body, asked);

    expect(report).toEqual(reported({ ...neighbours, rows_skipped: { invalid_verdict: 1 } }));
    expect(await setAside()).toMatchObject({ library_id: ERASER, path: `ti${NUL}dal` });
  });

  test('costs an identity that is there nothing', async () => {
    await writer.service([singleArtist(ERASER)]);
    const before = await writer.everything();
    const body = toText([withMain(singleArtist(ERASER), { bandcamp_id: new Verbatim(`"${NUL}"`) })]);

    const report = await writer.applyText(body, { ...asked, requested: [ERASER], verifiedAt: TUESDAY });

    expect(report).toEqual(reported({ rows_skipped: { invalid_verdict: 1 } }));
    expect(await writer.everything()).toEqual(before);
  });

  test.each([
    ['the statistics', { cache_stats: new Verbatim(`{"${NUL}": "${NUL}"}`) }],
    ['the version of the tracks', { tracks_contract_version: new Verbatim(`"${NUL}"`) }],
  ])('costs nothing where it is in %s', async (_, fields) => {
    const body = toText({ results: [singleArtist(DILATE), singleArtist(SANGOMA)], ...fields });
    const report = await writer.applyText(body, { ...asked, requested: [DILATE, SANGOMA] });
    expect(report).toEqual(reported(neighbours));
  });

  test.each([
    ['an array', (verdict: Fields) => [singleArtist(DILATE), verdict]],
    ['a single result', (verdict: Fields) => verdict],
  ])('is found in %s', async (_, wrap) => {
    const verdict = singleArtist(ERASER, { note: new Verbatim(`"${NUL}"`) });

    const report = await writer.applyText(toText(wrap(verdict)), asked);

    expect(report).toMatchObject({ rows_skipped: { invalid_verdict: 1 } });
    expect(await setAside()).toMatchObject({ library_id: ERASER, path: 'note', verdict: toText(verdict) });
  });

  test.each([
    ['a string', new Verbatim(`"${NUL}"`), '', 'the verdict'],
    ['an array', [new Verbatim(`"${NUL}"`)], '[0]', '[0]'],
  ])('is found in a result that is %s', async (_, result, path, called) => {
    const report = await writer.applyText(answer(result), asked);

    expect(report).toEqual(
      reported({ ...neighbours, rows_skipped: { invalid_verdict: 1, lml_cardinality_mismatch: 1 } }),
    );
    expect(await setAside()).toMatchObject({
      library_id: null,
      path,
      reason: `${called} holds text that PostgreSQL cannot store: the escape ${NUL}`,
      verdict: toText(result),
    });
  });

  test('does not make an answer of what is none', async () => {
    const body = toText({ message: new Verbatim(`"${NUL}"`) });

    const report = await writer.applyText(body, asked);

    expect(report).toEqual(reported({ rows_skipped: { lml_error: 3 } }));
    expect(await writer.quarantine()).toEqual([]);
  });

  test('in an unrequested result is set aside as such', async () => {
    const foreign = singleArtist(ERASER, { note: new Verbatim(`"${NUL}"`) });

    const report = await writer.applyText(answer(foreign), { ...asked, requested: [DILATE, SANGOMA] });

    expect(report).toEqual(reported({ ...neighbours, rows_skipped: { lml_untrusted_library_id: 1 } }));
    expect(await setAside()).toMatchObject({
      library_id: ERASER,
      outcome: 'lml_untrusted_library_id',
      verdict: toText(foreign),
    });
  });

  test.each([
    ['7.0', ERASER, `${ERASER}.0`],
    ['no integer', null, `${ERASER}.5`],
    ['too great', null, '9999999999'],
    ['null', null, 'null'],
  ])('is set aside under its library where the id is %s', async (_, library_id, id) => {
    const verdict = { library_id: new Verbatim(id), note: new Verbatim(`"${NUL}"`) };
    await writer.applyText(answer(verdict), asked);
    expect(await setAside()).toMatchObject({ library_id, verdict: toText(verdict) });
  });
});

describe('jsonb takes', () => {
  test.each([
    ['a proper pair of surrogates', String.raw`\ud83c\udfb7`, '🎷'],
    ['two pairs', String.raw`\uD83C\uDFB7\ud83c\udfb7`, '🎷🎷'],
    ['the text of an escape after a backslash', String.raw`\\u0000`, String.raw`\u0000`],
    ['the text of a surrogate after a backslash', String.raw`\\ud83c`, String.raw`\ud83c`],
    ['backslashes and the text of an escape', String.raw`\\\\u0000 \\.`, String.raw`\\u0000 \.`],
    ['other escapes', String.raw`\u0001\n\"\/\u00e9`, '\u0001\n"/é'],
    ['the letters of a mask', 'n0000 pd83cdfb7 b', 'n0000 pd83cdfb7 b'],
  ])('%s, also beside what it does not take', async (_, escaped, bandcamp_id) => {
    const fine = withMain(singleArtist(DILATE), { bandcamp_id: new Verbatim(`"${escaped}"`) });
    const refused = singleArtist(ERASER, { note: new Verbatim(`"${escaped} ${String.raw`\udfb7`}"`) });

    await writer.applyText(toText([fine]), { ...asked, requested: [DILATE] });
    expect(await writer.identity(DILATE)).toMatchObject({ bandcamp_id });

    const report = await writer.applyText(toText([refused, fine]), { ...asked, requested: [ERASER, DILATE] });
    expect(report).toMatchObject({ identity: { unchanged: 1 }, rows_skipped: { invalid_verdict: 1 } });
    expect(await setAside()).toMatchObject({ library_id: ERASER, path: 'note', verdict: toText(refused) });
  });
});

describe('a number', () => {
  test('that jsonb takes, but no column, is refused by its field', async () => {
    const report = await writer.applyText(
      answer(singleArtist(ERASER, { confidence: new Verbatim('1e400') })),
      asked,
    );
    expect(report).toEqual(reported({ ...neighbours, rows_skipped: { invalid_verdict: 1 } }));
    expect(await setAside()).toMatchObject({ library_id: ERASER, path: 'confidence' });
  });

  test.each(['1e999999', '-1e999999', '1e-99999', `1${'0'.repeat(140_000)}`])(
    'that jsonb does not take costs its verdict alone: %.12s',
    async (number) => {
      const verdict = singleArtist(ERASER, { confidence: new Verbatim(number) });

      const report = await writer.applyText(answer(verdict), asked);

      expect(report).toEqual(reported({ ...neighbours, rows_skipped: { invalid_verdict: 1 } }));
      const entry = await setAside();
      expect(entry).toMatchObject({ library_id: ERASER, outcome: 'invalid_verdict' });
      expect(entry.verdict).toBe(toText(verdict));
      expect(entry.reason).toContain('PostgreSQL cannot store');
    },
  );

  test('that jsonb does not take costs nothing outside of the results', async () => {
    const results = [singleArtist(DILATE), singleArtist(SANGOMA)];
    const body = toText({ results, cache_stats: { api_time_ms: new Verbatim('1e999999') } });
    const report = await writer.applyText(body, { ...asked, requested: [DILATE, SANGOMA] });
    expect(report).toEqual(reported(neighbours));
  });
});

describe('names that are repeated count as jsonb has them, the last one', () => {
  const twice = answer(singleArtist(ERASER))
    .replace(`"library_id":${ERASER}`, `"library_id":7,"library_id":${ERASER}`)
    .replace('"cache_stats"', '"cache_stats":7,"cache_stats"');

  test('in an answer that it takes', async () => {
    expect(await writer.applyText(twice, asked)).toMatchObject({ scanned: 3, rows_resolved: 3 });
  });

  test('in one that is set aside', async () => {
    const body = twice.replace('"4854"', String.raw`"4854\u0000"`);
    expect(await writer.applyText(body, asked)).toMatchObject({ scanned: 3, rows_resolved: 2 });
    expect(await setAside()).toMatchObject({ library_id: ERASER });
  });

  test('in the results themselves', async () => {
    const results = (verdict: Fields) => `"results":${toText([verdict])}`;
    const body = `{${results(singleArtist(ERASER))},${results(singleArtist(DILATE))}}`;
    expect(await writer.applyText(body, { ...asked, requested: [DILATE] })).toMatchObject({
      rows_resolved: 1,
    });
  });
});

test.each([
  ['that jsonb takes', null],
  ['that it does not', new Verbatim(String.raw`"\u0000"`)],
])('an answer %s cannot say itself what is set aside', async (_, cache_stats) => {
  const verdict = singleArtist(ERASER, { kind: 'artist' });
  const set_aside = { 1: { unreadable: 'forged', path: 'main', fault: 'none' }, 2: 7 };
  const body = toText({ set_aside, results: [verdict, singleArtist(DILATE)], cache_stats });

  const report = await writer.applyText(body, { ...asked, requested: [ERASER, DILATE] });

  expect(report).toMatchObject({ rows_resolved: 1, rows_skipped: { invalid_verdict: 1 } });
  const entry = await setAside();
  expect(entry).toMatchObject({ library_id: ERASER, path: 'kind', value: '"artist"' });
  expect(JSON.parse(entry.verdict as string)).toEqual(verdict);
});

/** A value in as many arrays. */
const nested = (depth: number, inner = '') =>
  new Verbatim(`${'['.repeat(depth)}${inner}${']'.repeat(depth)}`);

describe('a value nested deeply', () => {
  test.each([
    ['where it is ignored', (depth: number) => singleArtist(ERASER, { note: nested(depth) }), {}],
    [
      'where it is refused',
      (depth: number) => singleArtist(ERASER, { confidence: nested(depth) }),
      { invalid_verdict: 1 },
    ],
    [
      'where it holds an escape',
      (depth: number) => singleArtist(ERASER, { note: nested(depth, String.raw`"\ud83c"`) }),
      { invalid_verdict: 1 },
    ],
  ])('costs its verdict alone at most, %s', async (_, verdict, rows_skipped) => {
    const report = await writer.applyText(answer(verdict(1_000)), asked);
    expect(report).toMatchObject({ scanned: 3, rows_skipped });
    expect(Object.keys(await writer.sources(DILATE))).toHaveLength(2);
    expect(Object.keys(await writer.sources(SANGOMA))).toHaveLength(2);
  });

  // How deep PostgreSQL reads depends on its stack: the functions give up one after the other, none with an error.
  test.each([8_000, 18_000, 100_000])('is applied or no answer, but no error: %d levels', async (depth) => {
    for (const inner of ['', String.raw`"\ud83c"`]) {
      const report = await writer.applyText(
        answer(singleArtist(ERASER, { tracks: nested(depth, inner) })),
        asked,
      );
      expect(report.scanned).toBe(3);
      expect(
        report.rows_resolved === 0 ? report.rows_skipped.lml_error : report.rows_resolved,
      ).toBeGreaterThan(1);
    }
  });
});

describe('what is no answer', () => {
  beforeEach(async () => {
    await writer.service([singleArtist(DILATE)]);
  });

  const whole = answer(singleArtist(ERASER));

  test.each<[string, string | null]>([
    ['nothing at all', null],
    ['an empty body', ''],
    ['blanks', ' \n'],
    ['a page of HTML', '<!doctype html><html><body><h1>502 Bad Gateway</h1></body></html>'],
    ['plain text', 'Internal Server Error'],
    ['a number', '7'],
    ['null', 'null'],
    ['true', 'true'],
    ['a string', '"results"'],
    ['a string with an escape', String.raw`"\u0000"`],
    ['an object of nothing', '{}'],
    ['an error', '{"message": "internal error", "code": "internal"}'],
    ['results that are null', '{"results": null}'],
    ['results that are null, beside an escape', String.raw`{"results": null, "detail": "\u0000"}`],
    ['results that are an object', '{"results": {}}'],
    ['results that are a string', '{"results": "[]"}'],
    ['results that are a number, beside an escape', String.raw`{"results": 7, "detail": "\ud83c"}`],
    ['a body cut off in a string', whole.slice(0, 300)],
    ['a body cut off in an escape', `${whole.slice(0, whole.indexOf('0AiT'))}\\u00`],
    ['a body cut off before its end', whole.slice(0, -1)],
    ['a body cut off before its end, beside an escape', `{"detail": "\\u0000", ${whole.slice(1, -1)}`],
    ['a body and something after it', `${whole}}`],
    ['two bodies', whole + whole],
    ['a number that is none', whole.replace('0.97', 'NaN')],
    ['an escape that is none', whole.replace('4854', String.raw`\u00g0`)],
    ['an escape that is none, beside one', whole.replace('4854', String.raw`\u0000\x`)],
    ['a raw control character', whole.replace('4854', '\n')],
  ])('leaves every id unasked: %s', async (_, body) => {
    const before = await writer.everything();

    const report = await writer.applyText(body, { ...asked, verifiedAt: TUESDAY });

    expect(report).toEqual(reported({ rows_skipped: { lml_error: 3 } }));
    expect(await writer.everything()).toEqual(before);
    expect(await writer.attempts()).toEqual([]);
    expect(await writer.quarantine()).toEqual([]);
  });

  test.each([
    ['', 'the text is empty'],
    ['\ufeff \r\n', 'the text is empty'],
    ['{"results": {}}', 'the text is JSON, but no answer of LML: {"results": {}}'],
    ['<html>', 'the text is no JSON: line 1, column 1: < (Token "<" is invalid.)'],
    ['\ufeff<html>', 'the text is no JSON: line 1, column 1: < (Token "<" is invalid.)'],
    [
      '[\r\n  {"library_id": 5,\r\n   "kind": single}]',
      'the text is no JSON: line 3, column 17:    "kind": single (Token "single" is invalid.)',
    ],
    [
      '{"results": []}\n{"results": []}',
      'the text is no JSON: line 2, column 1: { (Expected end of input, but found "{".)',
    ],
    [
      '{"results": [',
      'the text is no JSON: line 1, column 13: {"results": [ (The input string ended unexpectedly.)',
    ],
    [`[${' '.repeat(200)}x]`, 'the text is no JSON: line 1, column 202: x (Token "x" is invalid.)'],
  ])('is raised to the operator who asked for nothing, with its place: %j', async (body, message) => {
    const failed = await writer.applyText(body, { requested: null }).catch((error) => error);
    expect(failed).toMatchObject({ code: 'LS003' });
    expect(failed.message.replaceAll(/ +/g, ' ')).toBe(message.replaceAll(/ +/g, ' '));
  });
});

test.each([
  ['LML’s whole answer', { results: [singleArtist(DILATE)], cache_stats: {}, tracks_contract_version: 1 }],
  ['an array of results', [singleArtist(DILATE)]],
  ['a single result', singleArtist(DILATE)],
])('an answer that jsonb takes is applied as it is: %s', async (_, response) => {
  const report = await writer.applyText(JSON.stringify(response, null, 2), { ...asked, requested: [DILATE] });
  expect(report).toEqual(reported({ rows_resolved: 1, identity: { inserted: 1 }, source: { inserted: 2 } }));
  expect(await writer.identity(DILATE)).toMatchObject({ notes: SERVICE, last_verified_at: MONDAY });
});

test('a byte order mark before an answer means nothing', async () => {
  const body = `\ufeff${JSON.stringify(singleArtist(DILATE))}`;
  const report = await writer.applyText(body, { ...asked, requested: [DILATE] });
  expect(report).toMatchObject({ rows_resolved: 1 });
});

test('the arguments besides the text are those of apply_identity_verdicts', async () => {
  const body = toText(singleArtist(DILATE, { provenance: [leg('discogs', '1', { confidence: 0.5 })] }));

  await writer.applyText(body, { requested: null, origin: 'repair:by-hand', verifiedAt: TUESDAY });
  expect(await writer.identity(DILATE)).toMatchObject({ notes: 'repair:by-hand', last_verified_at: TUESDAY });

  const strictly = await writer.applyText(body, { requested: null, strictBands: true });
  expect(strictly).toMatchObject({ rows_skipped: { invalid_verdict: 1 } });

  await expect(writer.applyText(body, { requested: null, origin: 'somebody' })).rejects.toMatchObject({
    code: 'LS001',
  });
});
