// An LML that has more to say than its published contract, and a catalogue that is renamed, by the command line.
import { describe, expect } from 'vitest';
import { shelve } from '../support/catalogue.js';
import { test } from '../support/test.js';

describe('an LML that has added a source, a method and keys', () => {
  test.override('answers', {
    additions: { source: 'deezer', method: 'acoustic', mainKey: 'isni', resultKey: 'release' },
  });

  test('is believed, its run ends well, and says once what is new', async ({ database, cli }) => {
    for (const artist of ['Autechre', 'Stereolab', 'Zzyzx Unheard']) await shelve(database.sql, artist);

    for (const args of [
      ['run', '--dry-run'],
      ['run', '--batch-size', '1'],
    ]) {
      const ended = await cli.run(args);
      expect(ended.status).toBe(0);
      expect(ended.stderr.match(/LML named what this service does not know[^"]*/g)).toEqual([
        'LML named what this service does not know, sources and methods are written as they came: ' +
          'key main.isni, key release, method acoustic, source deezer',
      ]);
    }

    const written = await database.sql`
      select source, method from wxyc_schema.library_identity_source where source = 'deezer'`;
    expect(new Set(written.map(({ source, method }) => `${source} ${method}`))).toEqual(
      new Set(['deezer acoustic']),
    );
    const [{ report }] = await database.sql<[{ report: Record<string, number> }]>`
      select identity_sync.identity_run_report() as report`;
    expect(report).toMatchObject({
      source_rows_unknown: written.length,
      rows_skipped: { invalid_verdict: 0 },
    });
  });
});

test('a record renamed while LML is asked is asked again by the next run, under its new name', async ({
  database,
  cli,
  lml,
}) => {
  const id = await shelve(database.sql, 'Stereolab');
  lml.respondWith(async () => {
    await database.sql`update wxyc_schema.library set artist_name = 'Autechre' where id = ${id}`;
    return undefined;
  });
  const first = await cli.run(['run']);
  expect(JSON.parse(first.stdout)).toMatchObject({ rows_resolved: 0, rows_skipped: { stale_verdict: 1 } });

  const second = await cli.run(['run']);
  expect(JSON.parse(second.stdout)).toMatchObject({ scanned: 1, rows_resolved: 1 });
  const third = await cli.run(['run']);
  expect(JSON.parse(third.stdout)).toMatchObject({ scanned: 0 });
});
