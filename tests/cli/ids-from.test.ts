// A list of ids that a query or a person wrote is read whole, or refused with the word that is none.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { shelveAll } from '../support/catalogue.js';
import { test } from '../support/test.js';

test('run --ids-from takes the ids of a file, with commas, blanks and lines between them', async ({
  database,
  cli,
}) => {
  const [one, two] = await shelveAll(database.sql, 'Autechre', 'Björk', 'Stereolab');
  const folder = await mkdtemp(join(tmpdir(), 'ids-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const file = join(folder, 'ids');

  await writeFile(file, `\ufeff${one}, \r\n  ${two}\n\n`);
  const ended = await cli.run(['run', '--ids-from', file]);
  expect(ended.status, ended.stderr).toBe(0);
  expect(JSON.parse(ended.stdout)).toMatchObject({ scope: 'ids', planned: 2, scanned: 2 });

  await writeFile(file, ` id \n----\n ${one}\n(1 row)\n`);
  const { status, stderr } = await cli.run(['run', '--ids-from', file]);
  expect(status).toBe(2);
  expect(stderr).toContain(
    'which holds "id"; allowed: library ids with commas, blanks or lines between them',
  );
});
