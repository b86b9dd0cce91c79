// What a release has migrated stays as it was: databases have run it, and graphile-migrate tells them by its text.
import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT, readText } from '../support/repository.js';

/** The migrations of each release, by the SHA-256 of their files; a release adds its own. */
const RELEASED = {
  '000001-station-tables.sql': 'f82a81e86c7b65b280319c45f0ddd3d51b11ea467e7680a20a7e807165b01850',
  '000002-schemas-types-tables.sql': 'adfa34c44faf6602b40ee8b5ce4dc8209c69172d0ade8f22a621a1a9001300ed',
  '000003-functions-and-views.sql': '425f0fe73bdf08185d0f659aca4bc665dd128852a0096328b328f65e08bb9cc1',
  '000004-adopt-what-is-there.sql': '068c32d7cb5dd691fbf7070f8ff800cf172bc62709718370df7b7347e838e440',
};

const committed = readdirSync(join(ROOT, 'migrations/committed')).sort();

test('no migration of a release is edited, renamed or taken away', () => {
  const hashes = committed.map((file) => [
    file,
    createHash('sha256')
      .update(readText(`migrations/committed/${file}`))
      .digest('hex'),
  ]);
  expect(Object.fromEntries(hashes)).toMatchObject(RELEASED);
});

test('what comes after a release is migrated after it', () => {
  expect(committed.slice(0, Object.keys(RELEASED).length)).toEqual(Object.keys(RELEASED));
});
