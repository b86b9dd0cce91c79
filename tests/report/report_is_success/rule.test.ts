// When a run, a repair or a replay has gone well on the whole.
import { describe, expect, test } from 'vitest';
import {
  answerOf,
  call,
  candidates,
  claim,
  plan,
  settle,
  shelveAll,
  verdict,
} from '../../support/catalogue.js';
import { cli } from '../../support/cli.js';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

async function isSuccess(report: object) {
  const [row] = await database.sql`
    select identity_sync.report_is_success(${JSON.stringify(report)}::text::jsonb) as is_success`;
  return row!.is_success;
}

test.each([
  [{ scanned: 0, rows_skipped: {} }, true],
  [{ scanned: 0, rows_skipped: { invalid_verdict: 0 } }, true],
  [{ scanned: 4, rows_skipped: { invalid_verdict: 2, lml_error: 0 } }, true],
  [{ scanned: 4, rows_skipped: { invalid_verdict: 2, lml_error: 1 } }, false],
  [{ scanned: 4, rows_skipped: { invalid_verdict: 2, stale_verdict: 2 } }, true],
  [{ scanned: 4, rows_skipped: { manual_precedence: 4, lml_error: 0 } }, true],
  [{ scanned: 1, rows_skipped: { writer_error: 1 } }, false],
  [{ scanned: 3, would_skip: { lml_untrusted_library_id: 1 } }, true],
  [{ scanned: 3, would_skip: { lml_untrusted_library_id: 2 } }, false],
])('%j: %s', async (report, expected) => {
  expect(await isSuccess(report)).toBe(expected);
});

describe('the exit status follows it', () => {
  const settings = () => ({ DATABASE_URL: database.url });

  test('where a preview is applied of which LML had left out most rows', async () => {
    const [autechre] = await shelveAll(database.sql, 'Autechre', 'Stereolab', 'Sessa');
    const runId = await plan(database.sql, { dry_run: true });
    const { batch_id } = await claim(database.sql, runId);
    await settle(database.sql, batch_id, { body: answerOf([verdict.resolved(autechre)]) });

    const applied = await cli(['apply', '--run', runId], settings());
    expect(JSON.parse(applied.stdout)).toMatchObject({ rows_skipped: { lml_cardinality_mismatch: 2 } });
    expect(applied.status).toBe(1);
  });

  test('where a replay is refused again, for good and dry', async () => {
    const ids = await candidates(database.sql);
    await call(database.sql, 'apply_identity_response', {
      body: answerOf(ids.map(verdict.invalid)),
      requested: ids,
      origin: 'consumer:lml-bulk',
    });
    for (const flags of [['--dry-run'], []]) {
      expect(await cli(['replay', ...flags], settings())).toMatchObject({ status: 1 });
    }
  });
});
