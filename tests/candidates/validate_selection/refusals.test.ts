import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[call: string, message: string, hint: string]>([
  [`validate_selection('all', 7, 30, 0, 1, null)`, `scope is 'all'`, `Allowed: due, refresh, recheck, ids.`],
  [`validate_selection(null, 7, 30, 0, 1, null)`, `scope is NULL`, `Allowed: due, refresh, recheck, ids.`],
  [
    `validate_selection('ids', 7, 30, 0, 1, null)`,
    `scope is ids, and ids is NULL`,
    `Name the library ids: ids => array[1, 2, 3].`,
  ],
  [`validate_selection('due', -1, 30, 0, 1, null)`, `stale_days is -1`, `Allowed: 0 to 1000000 days.`],
  [
    `validate_selection('due', 7, null, 0, 1, null)`,
    `unresolved_retry_days is NULL`,
    `Allowed: 0 to 1000000 days.`,
  ],
  [
    `validate_selection('due', 7, 30, 1, 1, null)`,
    `partition is 1/1`,
    `Allowed: 0 <= partition_index < partition_count <= 1024.`,
  ],
  [
    `validate_selection('due', 7, 30, 0, 1025, null)`,
    `partition is 0/1025`,
    `Allowed: 0 <= partition_index < partition_count <= 1024.`,
  ],
  [
    `validate_selection('due', 7, 30, null, 1, null)`,
    `partition is NULL/1`,
    `Allowed: 0 <= partition_index < partition_count <= 1024.`,
  ],
])('a parameter out of range is refused: %s', async (call, message, hint) => {
  await expect(evaluate(call)).rejects.toMatchObject({ code: 'LS001', message, hint });
});

test.each<[call: string]>([
  [`validate_selection('due', 7, 30, 0, 1, null)`],
  [`validate_selection('ids', 7, 30, 0, 1, '{}'::integer[])`],
  [`validate_selection('due', 7, 30, 1023, 1024, null)`],
])('what is allowed passes: %s', async (call) => {
  expect(await evaluate(`${call} is null`)).toBe(false);
});
