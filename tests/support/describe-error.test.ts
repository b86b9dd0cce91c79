import { expect, test } from 'vitest';
import { useDatabase } from './database.js';
import { describeError } from './describe-error.js';

const database = useDatabase();

const inside = `-- \u{1f3b5} two halves in JavaScript, one character in PostgreSQL
create function pg_temp.one() returns integer language plpgsql as $$
begin
  retrun 1;
end;
$$;
`;

test('an error names file, line and column, also after characters outside of the basic plane', async () => {
  const error = await database.sql.unsafe(inside).catch((refusal) => refusal);
  expect(describeError(error, 'sql/functions/run/one.sql', inside)).toBe(
    'sql/functions/run/one.sql:4:3: syntax error at or near "retrun" (42601)\n    retrun 1;\n    ^',
  );
});

test('an error without a place keeps what PostgreSQL says beside it', async () => {
  const error = await database.sql
    .unsafe(
      'create or replace function identity_sync.is_blank(words text) returns integer language sql return 1',
    )
    .catch((refusal) => refusal);
  expect(describeError(error, 'a.sql', '')).toMatch(
    /^a\.sql: cannot change .*\(42P13\)\n {2}hint: Use DROP FUNCTION/,
  );
});
