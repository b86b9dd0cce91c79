// An alert is taken once, however many ask.
import { expect } from 'vitest';
import { call, plan, shelve } from '../../support/catalogue.js';
import { test } from '../../support/test.js';

test('a run that ended badly and a hold that began are taken once, a run that did well or was stopped by hand is not', async ({
  database: { sql },
}) => {
  const take = async () =>
    (await sql`select alert from identity_sync.take_identity_alerts() as alert`).map(({ alert }) => alert);
  const stop = async (cause: string) => {
    const runId = await plan(sql);
    await call(sql, 'stop_identity_run', { run_id: runId, reason: `because of ${cause}`, cause });
    return Number(runId);
  };
  await plan(sql);
  await shelve(sql, 'Autechre');
  await stop('hand');
  expect(await take()).toEqual([]);

  const failed = await stop('breaker');
  await call(sql, 'pause_identity_planning', { reason: 'a deploy' });
  expect(await take()).toMatchObject([
    {
      alert: 'run_ended_badly',
      text: `library-identity-sync: run ${failed} failed: because of breaker`,
      run: { run_id: failed },
    },
    { alert: 'hold_began', hold: { name: 'paused' } },
  ]);
  expect(await take()).toEqual([]);

  await call(sql, 'resume_identity_planning');
  await call(sql, 'pause_identity_planning', { reason: 'another' });
  expect(await take()).toMatchObject([{ alert: 'hold_began' }]);
});

test('of what is done by hand its caller is told, however it ended', async ({ database: { sql } }) => {
  const id = await shelve(sql, 'Autechre');
  await sql`select identity_sync.apply_identity_verdicts(${sql.json([{ library_id: id, kind: 'nonsense' }])})`;
  const [run] = await sql`select scope, outcome from identity_sync.run`;
  expect(run).toEqual({ scope: 'repair', outcome: 'failed' });
  expect([...(await sql`select from identity_sync.take_identity_alerts()`)]).toEqual([]);
});

test('the text is escaped as Slack wants it, and the facts are as they are', async ({
  database: { sql },
}) => {
  await call(sql, 'pause_identity_planning', { reason: 'LML & <!channel>' });
  const [row] = await sql`select alert from identity_sync.take_identity_alerts() as alert`;
  expect(row?.alert).toMatchObject({
    text: expect.stringMatching(/^library-identity-sync: planning .*: LML &amp; &lt;!channel&gt;$/),
    hold: { reason: expect.stringMatching(/: LML & <!channel>$/) },
  });
});

test('a pause that begins after one that ended by itself is told of, too', async ({ database: { sql } }) => {
  await sql`
    insert into identity_sync.planning_hold (name, reason, since, ends_at, alerted_at)
    values ('paused', 'a deploy', now() - interval '2 days', now() - interval '1 day', now() - interval '2 days')`;
  await call(sql, 'pause_identity_planning', { reason: 'another' });
  const [row] = await sql`select alert from identity_sync.take_identity_alerts() as alert`;
  expect(row?.alert).toMatchObject({ alert: 'hold_began' });
});

test('of two sessions that ask at once one gets it', async ({ database }) => {
  await call(database.sql, 'pause_identity_planning', { reason: 'a deploy' });
  const taken = await Promise.all(
    Array.from(
      { length: 6 },
      () => database.sql`select alert from identity_sync.take_identity_alerts() as alert`,
    ),
  );
  expect(taken.flat()).toHaveLength(1);
});
