// A caller that joins an open run hears so, and which of the settings asked for are in vain.
import postgres from 'postgres';
import { beforeEach, describe, expect, test } from 'vitest';
import { plan, shelveAll } from '../../support/catalogue.js';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

beforeEach(async () => {
  await database.sql`truncate wxyc_schema.library, identity_sync.run cascade`;
  await shelveAll(database.sql, 'Autechre', 'Stereolab');
});

describe('a joined run keeps its own settings', () => {
  /** What the database says while a run is planned. */
  async function told(parameters: Record<string, unknown>) {
    const notices: postgres.Notice[] = [];
    const session = postgres(database.url, { max: 1, onnotice: (notice) => notices.push(notice) });
    await plan(session, parameters).finally(() => session.end());
    return notices.map(({ code, severity, message }) => ({ code, severity, message }));
  }

  test('and a caller whose settings differ is told which', async () => {
    const opened = { batch_size: 10, call_budget: 5, opened_by: 'host:1', deadline_minutes: 30 };
    const runId = await plan(database.sql, opened);
    expect(await told({ ...opened, opened_by: 'host:2', lanes: 1 })).toEqual([
      {
        code: 'LS008',
        severity: 'NOTICE',
        message: `run ${runId} is open, and is joined (opened by host:1)`,
      },
    ]);
    expect(await told({ accept: ['unresolved'], strict_bands: true, deadline_minutes: 30 })).toEqual([
      {
        code: 'LS008',
        severity: 'WARNING',
        message:
          `run ${runId} is open, and is joined (opened by host:1). It keeps its own settings: ` +
          'accept [] (asked: ["unresolved"]), batch_size 10 (asked: 500), call_budget 5 (asked: none), ' +
          'strict_bands false (asked: true)',
      },
    ]);
    const [run] = await database.sql`select batch_size, accept from identity_sync.run`;
    expect(run).toEqual({ batch_size: 10, accept: [] });
  });

  test('and one that opens it hears nothing', async () => {
    expect(await told({ batch_size: 10 })).toEqual([]);
  });
});
