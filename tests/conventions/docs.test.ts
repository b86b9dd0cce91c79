// The pages that are generated say what the database says.
import { expect, test } from 'vitest';
import { useDatabase } from '../support/database.js';
import { generatedPages } from '../support/docs.js';
import { readText } from '../support/repository.js';
import { useRoles } from '../support/roles.js';

const roles = useRoles();
const database = useDatabase();

test('sql/api.md and sql/schema.md are current: `npm run docs` would change nothing', async () => {
  await roles.run(database.url);
  const pages = await generatedPages(database.sql, roles);
  for (const [path, text] of Object.entries(pages)) expect(readText(path), path).toBe(text);
});
