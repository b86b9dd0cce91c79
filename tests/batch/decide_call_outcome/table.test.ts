// The fault policy as a table: case by case, and against the page that prints it.
import { describe, expect, test } from 'vitest';
import { useDatabase } from '../../support/database.js';
import { readText } from '../../support/repository.js';

const database = useDatabase();

interface Situation {
  http_status: number | null;
  has_answer: boolean;
  size: number;
  tries: number;
  max_tries: number;
  is_part: boolean;
  has_answered_part: boolean;
  is_stopping: boolean;
}

// A whole batch of 500 after its first call.
const WHOLE = {
  ...{ has_answer: false, size: 500, tries: 0, max_tries: 3 },
  ...{ is_part: false, has_answered_part: false, is_stopping: false },
};
const LAST_TRY = { tries: 2 };
const PART = { is_part: true, size: 250 };
const ALONE = { is_part: true, size: 1 };
const AFTER_AN_ANSWER = { has_answered_part: true };

/** What becomes of each situation, in one statement. */
async function outcomesOf(situations: Situation[]): Promise<string[]> {
  const rows = await database.sql<{ outcome: string }[]>`
    select identity_sync_private.decide_call_outcome(
      http_status, has_answer, size, tries, max_tries, is_part, has_answered_part, is_stopping) as outcome
    from jsonb_to_recordset(${JSON.stringify(situations)}::text::jsonb) as situation (
      http_status integer, has_answer boolean, size integer, tries integer, max_tries integer,
      is_part boolean, has_answered_part boolean, is_stopping boolean)`;
  return rows.map(({ outcome }) => outcome);
}

describe('case by case', () => {
  test.each<[number | null, Partial<Situation>, outcome: string]>([
    [200, { has_answer: true }, 'applied'],
    [200, { has_answer: true, is_stopping: true, ...LAST_TRY }, 'applied'],
    [401, {}, 'key_refused'],
    [403, { is_stopping: true }, 'key_refused'],
    [503, { is_stopping: true }, 'abandoned'],
    [429, { is_stopping: true }, 'abandoned'],
    [429, LAST_TRY, 'deferred'],
    [413, {}, 'split'],
    [422, {}, 'split'],
    [422, { size: 2 }, 'split'],
    [422, { size: 1 }, 'poison_input'],
    [413, ALONE, 'failed'],
    [413, { ...ALONE, ...AFTER_AN_ANSWER }, 'poison_input'],
    [null, {}, 'retried'],
    [null, { tries: 1 }, 'retried'],
    [null, LAST_TRY, 'failed'],
    [null, { ...PART, ...AFTER_AN_ANSWER, ...LAST_TRY }, 'failed'],
    [200, {}, 'retried'],
    [200, LAST_TRY, 'split'],
    [200, PART, 'split'],
    [200, ALONE, 'retried'],
    [200, { ...ALONE, ...LAST_TRY }, 'failed'],
    [200, { ...ALONE, ...LAST_TRY, ...AFTER_AN_ANSWER }, 'poison_input'],
    [200, { size: 1, ...LAST_TRY }, 'failed'],
    [408, {}, 'retried'],
    [425, {}, 'retried'],
    [500, {}, 'retried'],
    [500, LAST_TRY, 'split'],
    [599, LAST_TRY, 'split'],
    [503, { max_tries: 1 }, 'split'],
    [503, PART, 'split'],
    [503, ALONE, 'retried'],
    [503, { ...ALONE, ...AFTER_AN_ANSWER }, 'retried'],
    [503, { ...ALONE, ...LAST_TRY }, 'failed'],
    [503, { ...ALONE, ...LAST_TRY, ...AFTER_AN_ANSWER }, 'poison_input'],
    [503, { size: 1, ...LAST_TRY }, 'failed'],
    [302, {}, 'failed'],
    [400, {}, 'failed'],
    [404, { ...ALONE, ...AFTER_AN_ANSWER }, 'failed'],
  ])('%j %j: %s', async (http_status, rest, outcome) => {
    expect(await outcomesOf([{ ...WHOLE, http_status, ...rest }])).toEqual([outcome]);
  });
});

// The words of the page's table, as conditions.
const STATUSES: Record<string, (situation: Situation) => boolean> = {
  '200 with an answer': ({ has_answer }) => has_answer,
  '200 without an answer': ({ http_status, has_answer }) => http_status === 200 && !has_answer,
  none: ({ http_status }) => http_status === null,
  '5xx': ({ http_status }) => (http_status ?? 0) >= 500,
  'any other': () => true,
};
const CONDITIONS: Record<string, (situation: Situation) => boolean> = {
  '–': () => true,
  'the run is stopping': ({ is_stopping }) => is_stopping,
  'one input': ({ size }) => size === 1,
  'two inputs or more': ({ size }) => size > 1,
  'two inputs or more, of a batch cut before': ({ size, is_part }) => size > 1 && is_part,
  'another part was answered': ({ has_answered_part }) => has_answered_part,
  'tries are left': ({ tries, max_tries }) => tries + 1 < max_tries,
};

test('sql/wire.md says the same of every situation there can be', async () => {
  const [, table] = readText('sql/wire.md').split('## Table of faults\n');
  const rows = table!
    .split('\n## ')[0]!
    .split('\n')
    .filter((line) => /^\|.*`/.test(line))
    .map((line) => line.split('|').map((cell) => cell.trim()));
  expect(rows.length).toBeGreaterThan(5);
  const policy = rows.map(([, statuses, condition, outcome]) => ({
    fits: (situation: Situation) =>
      statuses!
        .split(', ')
        .some((status) => STATUSES[status]?.(situation) ?? situation.http_status === Number(status)) &&
      CONDITIONS[condition!]!(situation),
    outcome: outcome!.replaceAll('`', ''),
  }));

  const either = [false, true];
  const situations = [null, 200, 302, 400, 401, 403, 404, 408, 413, 422, 425, 429, 499, 500, 502, 503, 599]
    .flatMap((http_status) =>
      (http_status === 200 ? either : [false]).map((has_answer) => ({ http_status, has_answer })),
    )
    .flatMap((one) => [1, 2, 500].map((size) => ({ ...one, size })))
    .flatMap((one) => [0, 1, 2].flatMap((tries) => [1, 3].map((max_tries) => ({ ...one, tries, max_tries }))))
    .flatMap((one) => either.map((is_part) => ({ ...one, is_part })))
    // Only a part has other parts.
    .flatMap((one) =>
      (one.is_part ? either : [false]).map((has_answered_part) => ({ ...one, has_answered_part })),
    )
    .flatMap((one) => either.map((is_stopping) => ({ ...one, is_stopping })));

  const outcomes = await outcomesOf(situations);
  const printed = situations.map((situation) => policy.find(({ fits }) => fits(situation))?.outcome);
  const differ = situations
    .map((situation, index) => ({ ...situation, decided: outcomes[index], printed: printed[index] }))
    .filter(({ decided, printed }) => decided !== printed);
  expect(differ).toEqual([]);
  expect([...new Set(outcomes)].sort()).toEqual([...new Set(policy.map(({ outcome }) => outcome))].sort());
});
