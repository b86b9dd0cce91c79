// `npm run migration:commit -- "message"`: turns migrations/current.sql into the next committed migration, with the
// functions it includes copied in. graphile-migrate proves it on a shadow database, so a throw-away server is started.
import { fileURLToPath } from 'node:url';
import { commit } from 'graphile-migrate';
import postgres from 'postgres';
import { startEmbeddedPostgres } from '../../src/demo/embedded-postgres.js';

const server = await startEmbeddedPostgres({ version: 14, settings: { fsync: 'off' } });
const database = (name: string) => Object.assign(new URL(server.url), { pathname: name }).href;
try {
  const admin = postgres(server.url, { max: 1 });
  await admin`create database development`;
  await admin.end();
  const development = postgres(database('development'), { max: 1 });
  await development.file(fileURLToPath(new URL('../../src/demo/backend.sql', import.meta.url)));
  await development.end();
  await commit(
    {
      connectionString: database('development'),
      shadowConnectionString: database('shadow'),
      rootConnectionString: database('postgres'),
      migrationsFolder: fileURLToPath(new URL('../../migrations', import.meta.url)),
      afterReset: [{ _: 'sql', file: '../src/demo/backend.sql' }],
      beforeAllMigrations: [],
      blankMigrationContent: '-- The next migration begins here.\n',
    },
    process.argv[2],
  );
} finally {
  await server.stop();
}
