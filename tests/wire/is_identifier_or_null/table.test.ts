import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[expression: string, value: unknown]>([
  [`is_identifier_or_null(text_of(null::jsonb))`, true],
  [`is_identifier_or_null(text_of('null'::jsonb))`, true],
  [`is_identifier_or_null(text_of('"Q42"'::jsonb))`, true],
  [`is_identifier_or_null(text_of('" Q42"'::jsonb))`, true],
  [`is_identifier_or_null(text_of('" "'::jsonb))`, false],
  [`is_identifier_or_null(text_of('"\\u2003\\t"'::jsonb))`, false],
  [`is_identifier_or_null(text_of('""'::jsonb))`, false],
  [`is_identifier_or_null(text_of(to_jsonb(repeat('x', 512))))`, true],
  [`is_identifier_or_null(text_of(to_jsonb(repeat('x', 513))))`, false],
  [`is_identifier_or_null(text_of(to_jsonb(repeat('🎷', 512))))`, true],
  [`is_identifier_or_null(text_of(to_jsonb(repeat('🎷', 513))))`, false],
  [`is_identifier_or_null(text_of('7'::jsonb))`, false],
  [`is_identifier_or_null(text_of('true'::jsonb))`, false],
  [`is_identifier_or_null(text_of('[]'::jsonb))`, false],
  [`is_identifier_or_null(text_of('{}'::jsonb))`, false],
])(
  'an identifier is a string of 1 to 512 characters that is not blank, or nothing: %s is %j',
  async (expression, value) => {
    expect(await evaluate(expression)).toEqual(value);
  },
);
