// PostgreSQL takes no more sessions for a while (53300): that passes, as an outage does.
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { plan } from '../support/catalogue.js';
import { useLogin } from '../support/database.js';
import { cutSessions, identified, runOf, shelveMany } from '../support/faults.js';
import { useRoles } from '../support/roles.js';
import { test as base } from '../support/test.js';

const roles = useRoles();
const login = useLogin();

const test = base.override('answers', { latencyMs: 100 });

test.for(['run', 'worker'])(
  'a %s whose sessions are cut and refused for five seconds carries its run to the end, and asks nothing twice',
  async (command, { cli, database, lml }) => {
    await roles.run(database.url, { worker: login.name });
    const ids = await shelveMany(database.sql, 60);
    await plan(database.sql, { batch_size: 2 });
    const running = cli.start([command], { DATABASE_URL: login.into(database), LML_TIMEOUT_MS: '2000' });
    await expect.poll(() => lml.calls.length).toBeGreaterThan(4);

    await database.sql.unsafe(`alter role ${login.name} connection limit 0`);
    await cutSessions(database.sql);
    await sleep(5000);
    await database.sql.unsafe(`alter role ${login.name} connection limit -1`);

    await expect.poll(async () => (await runOf(database.sql)).outcome).toBe('completed');
    expect(await identified(database.sql)).toEqual(ids);
    expect([...lml.askedIds()].sort(([one], [other]) => one - other)).toEqual(ids.map((id) => [id, 1]));
    if (command === 'worker') running.signal('SIGTERM');
    const ended = await running.endsWithin(15_000);
    expect(ended).toMatchObject({ status: 0 });
    // One line when it goes and one when it is back.
    expect(ended.stderr.match(/the database is away/g)).toHaveLength(1);
    expect(ended.stderr.match(/the database is back/g)).toHaveLength(1);
  },
);
