// Error handlers of PL/pgSQL: what they catch.
import { expect, test } from 'vitest';
import { definitions } from '../support/repository.js';

// PL/pgSQL takes a SQLSTATE that ends in 000 for its whole class, and so does each of these names.
const CATEGORY =
  /when [^;]*?(sqlstate '\w{2}000'|\b(data_exception|integrity_constraint_violation|invalid_transaction_state|transaction_rollback|insufficient_resources|program_limit_exceeded|object_not_in_prerequisite_state|operator_intervention|system_error|plpgsql_error|connection_exception|feature_not_supported|syntax_error_or_access_rule_violation)\b)/;

test('a handler catches an error by its own code, never a whole class of errors by its category', () => {
  const handlers = definitions('functions').flatMap(({ path, text }) =>
    [...text.matchAll(/^ *exception\n([\s\S]*?)\n *end;$/gm)].map(([, handler]) => ({
      path,
      handler: handler!,
    })),
  );
  expect(handlers.length).toBeGreaterThan(0);
  expect(handlers.filter(({ handler }) => CATEGORY.test(handler))).toEqual([]);
});

test('no error of ours is a category', () => {
  const raised = definitions('functions').filter(({ text }) => /errcode = '\w{2}000'/.test(text));
  expect(raised.map(({ path }) => path)).toEqual([]);
});
