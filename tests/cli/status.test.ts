// `status` and `explain` on a real database: JSON into a pipe, words at a terminal, and who is alive.
import { expect } from 'vitest';
import { shelve } from '../support/catalogue.js';
import { atATerminal } from '../support/terminal.js';
import { test } from '../support/test.js';

test('into a pipe both are JSON, of which status knows the run and explain who said what', async ({
  database,
  cli,
}) => {
  const id = await shelve(database.sql, 'Autechre');
  expect((await cli.run(['run'])).status).toBe(0);

  const status = await cli.run(['status']);
  expect([status.status, status.stderr]).toEqual([0, '']);
  expect(JSON.parse(status.stdout)).toMatchObject({
    runs: [{ outcome: 'completed', scanned: 1, new: 1 }],
    catalogue: { rows: 1, due: 0, fresh: 1 },
    lml: { recent_calls: 1, last_answer: { http_status: 200 } },
  });

  const explained = await cli.run(['explain', String(id)]);
  expect(JSON.parse(explained.stdout)).toMatchObject({
    library_id: id,
    due: { is_due: false, state: 'fresh' },
    identity: { run_id: 1 },
    timeline: [{ kind: 'identified', run_id: 1 }, { kind: 'asked' }],
  });
});

test('the settings that decide what is due decide it here too', async ({ database, cli }) => {
  const id = await shelve(database.sql, { artist: 'Stereolab', canonical: false });
  const due = async (args: string[]) => {
    const status = JSON.parse((await cli.run(['status', ...args])).stdout);
    const explained = JSON.parse((await cli.run(['explain', String(id), ...args])).stdout);
    return [status.catalogue.due, explained.due.is_due];
  };
  expect(await due([])).toEqual([0, false]);
  expect(await due(['--include-null-canonical'])).toEqual([1, true]);
});

test('a worker that is up is alive, with its version and its next tick', async ({ database, cli }) => {
  await cli.worker({ PLAN_CRON: '17 3 * * *' });
  const { workers, planning } = JSON.parse((await cli.run(['status'])).stdout);
  expect(workers).toMatchObject([{ is_alive: true, version: '0.1.0', plan_cron: '17 3 * * *' }]);
  expect(planning.crons).toEqual(['17 3 * * *']);

  const { screen } = await atATerminal(['status'], { DATABASE_URL: database.url, NO_COLOR: '1' });
  expect(screen).toMatch(/next tick \d{4}-\d\d-\d\d 03:17 UTC, in \d+ \w+ · cron 17 3 \* \* \*/);
});

test('a crontab time that this program cannot read leaves out its next tick, and nothing else', async ({
  database,
  cli,
}) => {
  await database.sql`
    select from identity_sync.rescue_identity_runs(lanes => 1, worker => 'other:1', plan_cron => 'every night')`;
  const { status, stdout } = await cli.run(['status']);
  expect([status, JSON.parse(stdout || '{}').planning?.crons]).toEqual([0, ['every night']]);
  expect((await cli.run(['report', '--html', '-'])).stdout).toContain(
    'next tick <code>every night</code></p>',
  );
});

test('at a terminal JSON moves no cursor either, and is the same JSON', async ({ database }) => {
  const name = 'Aute\u009b2Jchre \u202e\u007f';
  const id = await shelve(database.sql, { artist: name });
  const { screen } = await atATerminal(['explain', String(id), '--json'], { DATABASE_URL: database.url });
  expect(screen).not.toMatch(/[\u007f-\u009f\u202e]/);
  expect(JSON.parse(screen)).toMatchObject({ artist_name: name });
});

test.for([
  [['status'], 60],
  [['status'], 200],
  [['explain', 'ID'], 60],
  [['explain', 'ID'], 200],
] as const)(
  'at a terminal %j fits %d columns, and moves no cursor',
  async ([args, columns], { database, cli }) => {
    const id = await shelve(database.sql, { artist: 'Aute\u001b[2Jchre', title: 'x'.repeat(120) });
    expect((await cli.run(['run'])).status).toBe(0);

    const words = args.map((word) => (word === 'ID' ? String(id) : word));
    const { status, screen } = await atATerminal(
      words,
      { DATABASE_URL: database.url, NO_COLOR: '1' },
      columns,
    );

    expect(status).toBe(0);
    expect(screen).toMatch(
      args[0] === 'status' ? /^all is well: nothing needs you\n/ : /^\d+ {2}Aute␛\[2Jchre – x/,
    );
    expect(screen).not.toContain('\u001b');
    expect(screen.split('\n').filter((line) => line.length > columns)).toEqual([]);
  },
);

test('colour is there at a terminal, unless NO_COLOR says no', async ({ database }) => {
  const { screen } = await atATerminal(['status'], { DATABASE_URL: database.url });
  expect(screen).toContain('\u001b[32m');
});

test.for([
  [['status', '--watch'], 2, '--watch is for a terminal'],
  [['explain', 'five'], 2, 'ID is "five"; allowed: a library id, as in 5'],
  [['explain', '4000000'], 1, 'there is no library 4000000'],
  [['explain', '2147483647'], 1, 'there is no library 2147483647'],
  [['explain', '2147483648'], 2, 'ID is "2147483648"; allowed: a library id, as in 5'],
  [['quarantine', '--ids', '5,2147483648'], 2, '--ids is "5,2147483648"; allowed: library ids, as in 1,2,3'],
] as const)('%j ends with %d', async ([args, status, words], { cli }) => {
  const ended = await cli.run([...args]);
  expect([ended.status, ended.stdout]).toEqual([status, '']);
  expect(ended.stderr).toContain(words);
});
