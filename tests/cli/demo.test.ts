// The demo's data, as the compiled program finds it.
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type * as Catalogue from '../../src/demo/catalogue.js';
import type * as StandIn from '../../src/demo/stand-in.js';
import { cli } from '../support/cli.js';
import { useDatabase } from '../support/database.js';
import { ROOT } from '../support/repository.js';

const database = useDatabase();
const compiled = (file: string) => import(join(ROOT, 'dist/demo', file));

test('the compiled program finds the catalogue, the identities and the compilations', async () => {
  expect(await cli(['demo', '--help'], {})).toMatchObject({ status: 0 });
  const { loadIdentities, loadCompilations } = (await compiled('stand-in.js')) as typeof StandIn;
  expect(loadIdentities().size).toBeGreaterThan(0);
  expect(loadCompilations().size).toBeGreaterThan(0);

  const { loadCatalogue } = (await compiled('catalogue.js')) as typeof Catalogue;
  await database.sql`drop schema wxyc_schema cascade`;
  await loadCatalogue(database.sql, { rows: 5 });
  expect(await database.sql`select from wxyc_schema.library`).toHaveLength(5);
});
