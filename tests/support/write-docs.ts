// `npm run docs`: writes sql/api.md and sql/schema.md from a throw-away database with every current definition in it.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import postgres from 'postgres';
import { migrate } from '../../src/commands/migrate.js';
import { startEmbeddedPostgres } from '../../src/demo/embedded-postgres.js';
import { log } from '../../src/observe/log.js';
import { generatedPages } from './docs.js';
import { ownWords } from './pending.js';
import { withoutPsql } from './psql.js';
import { applyDefinitions, ROOT, readText } from './repository.js';

log.level = 'error';
const server = await startEmbeddedPostgres({ settings: { fsync: 'off' } });
const sql = postgres(server.url, { max: 1, onnotice: () => {} });
try {
  await sql.unsafe(readText('src/demo/backend.sql'));
  await migrate(server.url);
  await sql.unsafe(ownWords(readText('migrations/current.sql')));
  await applyDefinitions(sql);
  await sql.unsafe(withoutPsql(readText('sql/roles.sql'), {}));
  const roles = { reader: 'identity_reader', operator: 'identity_operator', worker: 'identity_worker' };
  for (const [path, text] of Object.entries(await generatedPages(sql, roles))) {
    writeFileSync(join(ROOT, path), text);
    console.log(`${path}: ${text.split('\n').length - 1} lines`);
  }
} finally {
  await sql.end();
  await server.stop();
}
