// The quarantine for a person: at any width each entry says what is wrong and what would be right.
import { expect, test } from 'vitest';
import { type QuarantineEntry, quarantineScreen } from '../../src/screens/quarantine.js';

const refused: QuarantineEntry = {
  quarantine_id: 5,
  library_id: 1904,
  artist_name: 'Paris [hiphop mc]',
  album_title: 'Devil Made Me Do It',
  run_id: 13,
  outcome: 'invalid_verdict',
  reason: 'main.discogs_artist_id is "x; y"; allowed: a positive integer or null',
  path: 'main.discogs_artist_id',
  value: 'x; y',
  sqlstate: null,
  message: null,
  quarantined_at: '2026-11-27T03:17:00Z',
};
const now = new Date('2026-11-27T03:18:00Z');

test('beside the field and its value the reason says what is allowed, and not both again', () => {
  const [, , , row] = quarantineScreen([refused], 160, now);
  expect(row).toMatch(/ 1904 {2}main\.discogs_artist_id +"x; y" +allowed: a positive integer or null/);
});

test("a refusal of the database is told in the database's words", () => {
  const writer = {
    ...refused,
    path: null,
    value: null,
    sqlstate: '23514',
    message: 'violates check "refused"',
  };
  expect(quarantineScreen([writer], 110, now)[3]).toMatch(/ 23514 +– +violates check "refused"/);
});
