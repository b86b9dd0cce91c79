// The selection looks for each kind of due row where it is rare. Here the rule stands as the contract words it, row by row,
// over every mixture of states that a row can be in, and both must choose the same.
import { beforeAll, expect, test } from 'vitest';
import { candidates, shelve } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const AGES = [-DAY, HOUR, 6 * DAY, 8 * DAY, 29 * DAY, 31 * DAY];
const MARKS = [
  'unresolved',
  'compilation',
  'compilation_unread',
  'writer_error',
  'poison_input',
  'manual_precedence',
  'released',
];

interface State {
  isCanonical: boolean;
  isShapedAsCompilation: boolean;
  name: string | null;
  verifiedAge: number | null;
  mark: { outcome: string; age: number } | null;
}

const states: State[] = [true, false].flatMap((isCanonical) =>
  [null, ...AGES].flatMap((verifiedAge) =>
    [null, ...MARKS.flatMap((outcome) => AGES.map((age) => ({ outcome, age })))].map((mark, index) => ({
      isCanonical,
      isShapedAsCompilation: index % 2 === 0,
      name: index % 7 === 3 ? ' ' : 'Sun Ra',
      verifiedAge,
      mark,
    })),
  ),
);

const ids: number[] = [];

beforeAll(async () => {
  const { sql } = database;
  for (const { isCanonical, isShapedAsCompilation, name, verifiedAge, mark } of states) {
    const id = await shelve(sql, { artist: 'Sun Ra' });
    ids.push(id);
    await sql`
      update wxyc_schema.library
      set
        artist_name = ${name},
        canonical_entity_id = ${isCanonical ? 'artist:1' : null},
        code_volume_letters = ${isShapedAsCompilation ? 'Z1' : null}
      where id = ${id}`;
    if (verifiedAge !== null)
      await sql`
        insert into wxyc_schema.library_identity (library_id, method, confidence, last_verified_at)
        values (${id}, 'exact_match', 1, ${new Date(Date.now() - verifiedAge)})`;
    if (mark !== null)
      await sql`
        insert into identity_sync.attempt (library_id, outcome, attempted_at)
        values (${id}, ${mark.outcome}, ${new Date(Date.now() - mark.age)})`;
  }
  await sql`insert into identity_sync.attempt (library_id, outcome, attempted_at) values (-1, 'released', now())`;
});

interface RunParameters {
  stale_days: number;
  unresolved_retry_days: number;
  include_null_canonical: boolean;
}

/** A time ahead of the clock says nothing about an age, and holds nothing back. */
const isOlder = (age: number, days: number) => age < 0 || age >= days * DAY;

const RULES: Record<string, (state: State, parameters: RunParameters) => boolean> = {
  due({ isCanonical, verifiedAge, mark }, parameters) {
    if (mark?.outcome === 'released') return true;
    if (mark?.outcome === 'manual_precedence' && verifiedAge === null) mark = null;
    const holdsDays = ['manual_precedence', 'compilation_unread'].includes(mark?.outcome ?? '')
      ? parameters.stale_days
      : parameters.unresolved_retry_days;
    const isInReach = isCanonical || verifiedAge !== null || parameters.include_null_canonical;
    const isStale = verifiedAge === null || isOlder(verifiedAge, parameters.stale_days);
    return isInReach && isStale && (mark === null || isOlder(mark.age, holdsDays));
  },
  refresh: ({ isCanonical, verifiedAge }, parameters) =>
    isCanonical || (verifiedAge !== null && isOlder(verifiedAge, parameters.stale_days)),
  recheck: ({ isShapedAsCompilation, mark }) =>
    isShapedAsCompilation && mark !== null && !['manual_precedence', 'released'].includes(mark.outcome),
  ids: () => true,
};

test.each(
  Object.keys(RULES).flatMap((scope) =>
    [7, 0].flatMap((stale_days) =>
      [30, 0].flatMap((unresolved_retry_days) =>
        [false, true].map(
          (include_null_canonical) =>
            [scope, { stale_days, unresolved_retry_days, include_null_canonical }] as [string, RunParameters],
        ),
      ),
    ),
  ),
)('%s chooses what the rule chooses, row by row: %j', async (scope, parameters) => {
  const chosen = ids.filter((_, index) => {
    const state = states[index]!;
    return state.name === 'Sun Ra' && RULES[scope]!(state, parameters);
  });
  expect(chosen.length).toBeGreaterThan(0);

  expect(await candidates(database.sql, { scope, ...parameters, ids: scope === 'ids' ? ids : null })).toEqual(
    chosen,
  );

  const named = ids.filter((_, index) => index % 3 === 0);
  expect(await candidates(database.sql, { scope, ...parameters, ids: named })).toEqual(
    chosen.filter((id) => named.includes(id)),
  );
  const share = { partition_index: 1, partition_count: 4, ids: scope === 'ids' ? ids : null };
  expect(await candidates(database.sql, { scope, ...parameters, ...share })).toEqual(
    chosen.filter((id) => id % 4 === 1),
  );
});
