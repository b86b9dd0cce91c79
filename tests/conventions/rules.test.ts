// Each rule of the wire contract has one source: the file to change is the only file that states it.
import { describe, expect, test } from 'vitest';
import { useDatabase } from '../support/database.js';
import { definitions, readText } from '../support/repository.js';

/** The code of every function and view: no comment, and no COMMENT ON. */
const code = [...definitions('functions'), ...definitions('views')].map(({ path, text }) => ({
  path,
  text: text.replaceAll(/--.*$/gm, '').replaceAll(/^comment on[\s\S]*?;$/gm, ''),
}));

/** The files whose code holds at least so many of the words, each as a word of its own. */
const filesWith = (words: string[], atLeast: number) =>
  code
    .filter(({ text }) => words.filter((word) => new RegExp(`\\b${word}\\b`).test(text)).length >= atLeast)
    .map(({ path }) => path);

const METHODS = [
  ...['manual', 'cross_source_agreement', 'exact_match', 'name_variation'],
  ...['member_group', 'alias_match', 'trigram', 'llm'],
];
const SOURCES = ['discogs', 'musicbrainz', 'wikidata', 'spotify', 'apple_music', 'bandcamp'];

test('the methods are listed in one file, and their bands in one', () => {
  expect(filesWith(METHODS, 2)).toEqual(['functions/wire/is_in_band.sql', 'functions/wire/methods.sql']);
});

test('the sources are listed in one file', () => {
  expect(filesWith(SOURCES, 2)).toEqual(['functions/wire/sources.sql']);
});

test.each([
  ['the tolerance of a band', /0\.00001/, 'wire/is_in_band.sql'],
  ['the length of an identifier', /<= 512/, 'wire/is_identifier_or_null.sql'],
  ['the greatest integer', /2147483647/, 'wire/is_integer.sql'],
  ['the rounding of a confidence', /round\([^)]*, 12\)|'0\.000001'/, 'wire/read_confidence.sql'],
  ['what makes a row compilation-shaped', /like 'Z%'/, 'candidates/cohort_of.sql'],
  ['the cheap look at a name', /between 33 and 126/, 'wire/has_name.sql'],
  ['the white space of a track', /\\t\\n\\v\\f\\r/, 'wire/has_text.sql'],
])('%s stands in one file', (_rule, stated, file) => {
  expect(code.filter(({ text }) => stated.test(text)).map(({ path }) => path)).toEqual([`functions/${file}`]);
});

// The files that may spell an origin.
test.each([
  ["'consumer:lml-bulk'", ['functions/wire/service_origin.sql']],
  ["'repair:", ['functions/wire/repair_origin.sql']],
])('an origin is spelt in one file: %s', (literal, allowed) => {
  expect(code.filter(({ text }) => text.includes(literal)).map(({ path }) => path)).toEqual(allowed);
});

describe('sql/wire.md', () => {
  const database = useDatabase();
  const page = readText('sql/wire.md');

  test('gives every method with the band that the judge holds it to', async () => {
    const written = [...page.matchAll(/^\| `(\w+)` \| (\d\.\d\d to \d\.\d\d) \|/gm)].map(
      ([, method, band]) => ({ method, band }),
    );
    const held = await database.sql`
      select method, identity_sync_private.describe_band(method) as band
      from unnest(identity_sync_private.methods()) with ordinality as known (method, position)
      order by position`;
    expect(written).toEqual([...held]);
  });

  test('gives every source', async () => {
    const [{ sources }] = await database.sql<
      [{ sources: string[] }]
    >`select identity_sync_private.sources() as sources`;
    expect(page).toContain(`The sources are ${sources.map((source) => `\`${source}\``).join(', ')}.`);
  });
});
