// sql/roles.sql as a DBA runs it, on machines that have no psql.
import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { afterAll, inject } from 'vitest';
import { withoutPsql } from './psql.js';
import { readText } from './repository.js';

/** The script's variables: logins, each to be given a role. */
export interface Grantees {
  reader?: string;
  operator?: string;
  worker?: string;
}

export interface Roles {
  reader: string;
  operator: string;
  worker: string;
  /** The script, for psql. */
  script: string;
  /** Runs the script; a warning fails it, since it says that something was not granted. */
  run(url: string, grantees?: Grantees): Promise<void>;
}

/**
 * Gives the calling test file roles of its own, since roles belong to the server, which the other files use too: the
 * script with other names in it. They go after the databases that are used after them.
 */
export function useRoles(): Roles {
  const own = randomBytes(4).toString('hex');
  const [reader, operator, worker] = ['reader', 'operator', 'worker'].map(
    (role) => `identity_${role}_${own}`,
  ) as [string, string, string];
  const script = readText('sql/roles.sql').replaceAll(/\bidentity_(reader|operator|worker)\b/g, `$&_${own}`);

  afterAll(async () => {
    const admin = postgres(inject('server').url, { max: 1, onnotice: () => {} });
    await admin.unsafe(`drop role if exists ${reader}, ${operator}, ${worker}`).finally(() => admin.end());
  });

  return {
    reader,
    operator,
    worker,
    script,
    async run(url, grantees = {}) {
      const warnings: string[] = [];
      const session = postgres(url, {
        max: 1,
        onnotice: ({ severity, message }) => severity === 'WARNING' && warnings.push(message!),
      });
      const DBNAME = new URL(url).pathname.slice(1);
      await session.unsafe(withoutPsql(script, { ...grantees, DBNAME })).finally(() => session.end());
      if (warnings.length > 0) throw new Error(warnings.join('\n'));
    },
  };
}
