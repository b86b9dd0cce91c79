// What a share of a batch has written may be anything, or nothing.
import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

const EARLIER = `jsonb_populate_record(null::write_result, '{
  "history_ids": [1], "linked_credit_ids": [2], "positioned_credit_ids": [3], "written_by": ["10"],
  "source_inserted": 1, "source_changed": 2, "source_unchanged": 3, "source_removed": 4}')`;
const LATER = `jsonb_populate_record(null::write_result, '{
  "history_ids": [5], "linked_credit_ids": [6], "positioned_credit_ids": [7], "written_by": ["11"],
  "source_inserted": 10, "source_changed": 20, "source_unchanged": 30, "source_removed": 40}')`;

const EARLIER_ALONE = {
  ...{ history_ids: [1], linked_credit_ids: [2], positioned_credit_ids: [3], written_by: ['10'] },
  ...{ source_inserted: 1, source_changed: 2, source_unchanged: 3, source_removed: 4 },
};
const LATER_ALONE = {
  ...{ history_ids: [5], linked_credit_ids: [6], positioned_credit_ids: [7], written_by: ['11'] },
  ...{ source_inserted: 10, source_changed: 20, source_unchanged: 30, source_removed: 40 },
};
const BOTH = {
  ...{
    history_ids: [1, 5],
    linked_credit_ids: [2, 6],
    positioned_credit_ids: [3, 7],
    written_by: ['10', '11'],
  },
  ...{ source_inserted: 11, source_changed: 22, source_unchanged: 33, source_removed: 44 },
};
const NEITHER = {
  ...{ verdicts: [], history_ids: [], linked_credit_ids: [], positioned_credit_ids: [], written_by: [] },
  ...{ source_inserted: 0, source_changed: 0, source_unchanged: 0, source_removed: 0 },
};

test.each([
  ['both', EARLIER, LATER, BOTH],
  ['the earlier alone', EARLIER, 'null', EARLIER_ALONE],
  ['the later alone', 'null', LATER, LATER_ALONE],
  ['neither', 'null', 'null', NEITHER],
])(
  'lists are joined and counts are summed, and a share of which nothing was written adds nothing: %s',
  async (_, earlier, later, sum) => {
    expect(await evaluate(`add_write_results(${earlier}, ${later})`)).toMatchObject(sum);
  },
);
