// The states of a batch and of a run: those that the page draws are those that the tables allow.
import { describe, expect, test } from 'vitest';
import { plan, shelve } from '../support/catalogue.js';
import { useDatabase } from '../support/database.js';
import { readText } from '../support/repository.js';

const database = useDatabase();

const sections = readText('sql/states.md').split(/^## /m);
const section = (title: string) => sections.find((text) => text.startsWith(title))!;

/** The words in backticks that open a line of the section's tables. */
const named = (text: string) => [...text.matchAll(/^\| `(\w+)` \|/gm)].map(([, word]) => word!).sort();

/** What a check constraint of this column allows. */
async function allowed(table: string, column: string): Promise<string[]> {
  const [row] = await database.sql`
    select pg_get_constraintdef(oid) as definition from pg_constraint
    where conrelid = ${`identity_sync.${table}`}::regclass and conname = ${`${table}_${column}_check`}`;
  return [...row!.definition.matchAll(/'(\w+)'/g)].map(([, word]) => word!).sort();
}

describe('sql/states.md', () => {
  test('has a line for each state of a batch, and draws each', async () => {
    const page = section('A batch');
    const states = await allowed('batch', 'state');
    expect(named(page)).toEqual(states);
    const drawn = [...page.matchAll(/^ {2}(\w+|\[\*\]) --> (\w+|\[\*\])/gm)].flatMap(([, from, to]) => [
      from!,
      to!,
    ]);
    expect([...new Set(drawn)].filter((state) => state !== '[*]').sort()).toEqual(states);
  });

  test('has a line for each cause that stops a run', async () => {
    expect(named(section('A run'))).toEqual(await allowed('run', 'stop_cause'));
  });

  test('names each outcome of a run', async () => {
    for (const outcome of await allowed('run', 'outcome')) {
      expect(section('A run')).toContain(`| ${outcome} | \`outcome\` |`);
    }
  });
});

describe('a batch can only be', () => {
  const closed = 'closed_at = now()';

  test.each([
    ['applied with the time of its answer', `state = 'applied', ${closed}`],
    ['answered by LML where it is applied', `state = 'empty', answered_at = now(), ${closed}`],
    ['keeping an answer where it is applied', `state = 'empty', answer = '[]', ${closed}`],
    ['failed with a reason', `state = 'failed', ${closed}`],
    ['poisoned with a reason', `state = 'poisoned', library_ids = '{1}', ${closed}`],
    [
      'poisoned by one input',
      `state = 'poisoned', failure = 'LML answered 422', library_ids = '{1,2}', ${closed}`,
    ],
    [
      'given a reason where it went wrong',
      `state = 'applied', answered_at = now(), failure = 'none', ${closed}`,
    ],
    ['unfinished without a time of its end', closed],
    ['over with a time of its end', `state = 'abandoned'`],
  ])('%s', async (_, assignments) => {
    await shelve(database.sql, 'Autechre');
    const runId = await plan(database.sql, { scope: 'refresh' });
    await expect(
      database.sql.unsafe(`update identity_sync.batch set ${assignments} where run_id = ${runId}`),
    ).rejects.toMatchObject({ code: '23514' });
  });
});
