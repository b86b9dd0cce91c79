import { expect, test } from 'vitest';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

const WENT_WRONG = [
  ...['lml_error', 'writer_error', 'lml_cardinality_mismatch', 'lml_untrusted_library_id'],
  ...['invalid_verdict', 'poison_input'],
];
const LEFT_ON_PURPOSE = ['compilation', 'manual_precedence', 'stale_verdict', 'library_gone'];

test('counts what went wrong, and not what was left on purpose: every reason is one or the other', async () => {
  const rows = await database.sql<{ key: string; refused: number }[]>`
    select skipped.key, identity_sync_private.refused_rows(
        jsonb_set(identity_sync_private.empty_report(), array['rows_skipped', skipped.key], '3')) as refused
    from jsonb_object_keys(identity_sync_private.empty_report() -> 'rows_skipped') as skipped (key)`;

  const counted = Object.fromEntries(rows.map(({ key, refused }) => [key, refused]));
  expect(counted).toEqual({
    ...Object.fromEntries(WENT_WRONG.map((key) => [key, 3])),
    ...Object.fromEntries(LEFT_ON_PURPOSE.map((key) => [key, 0])),
  });
});

test('counts a dry run by what it would skip, and where nothing is said, nothing', async () => {
  const [row] = await database.sql`
    select
      identity_sync_private.refused_rows('{"would_skip": {"lml_error": 3, "compilation": 2}}') as dry,
      identity_sync_private.refused_rows('{}') as none`;
  expect({ ...row }).toEqual({ dry: 3, none: 0 });
});
