import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [
    `parse_retry_after('120') - clock_timestamp() between interval '119 seconds' and interval '120 seconds'`,
    true,
  ],
  [`parse_retry_after(' 5 ') > clock_timestamp()`, true],
  [`parse_retry_after('Wed, 21 Oct 2026 07:28:00 GMT') = '2026-10-21 07:28:00Z'`, true],
  [`parse_retry_after('Wed, 31 Feb 2026 07:28:00 GMT')`, null],
  [`parse_retry_after('2592000') - clock_timestamp() > interval '29.9 days'`, true],
  [
    `parse_retry_after('9999999999999999999') - clock_timestamp() between interval '90 years' and interval '100 years'`,
    true,
  ],
  [
    `parse_retry_after('30, 30') - clock_timestamp() between interval '29 seconds' and interval '30 seconds'`,
    true,
  ],
  [`parse_retry_after('30,600 ,5') > clock_timestamp() + interval '599 seconds'`, true],
  [`parse_retry_after('1.5') > clock_timestamp() + interval '1 second'`, true],
  [
    `parse_retry_after('Wed, 21 Oct 2026 07:28:00 GMT, Wed, 21 Oct 2026 07:28:00 GMT') = '2026-10-21 07:28:00Z'`,
    true,
  ],
  [`parse_retry_after('30,')`, null],
  [`parse_retry_after('30, soon')`, null],
  [`parse_retry_after('-1')`, null],
  [`parse_retry_after('soon')`, null],
  [`parse_retry_after('')`, null],
  [`parse_retry_after(null)`, null],
])('a Retry-After header in seconds or as a date: %s is %j', async (expression, value) => {
  expect(await evaluate(expression)).toEqual(value);
});
