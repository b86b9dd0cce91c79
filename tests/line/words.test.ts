// What a failure that comes later says: PostgreSQL's own words in one line, then what to do.
import { expect, test } from 'vitest';
import { inWords } from '../../src/errors.js';

const failure = (message: string, fields: object) => Object.assign(new Error(message), fields);

test.each<[string, Error, string]>([
  [
    'a function that a login may not call',
    failure('permission denied for function undo_identity_run', { code: '42501' }),
    'permission denied for function undo_identity_run (42501). This login lacks the role for it: ' +
      'psql "$DBA_URL" -v worker=LOGIN or operator=LOGIN, -f sql/roles.sql (README, "Which login").',
  ],
  [
    'a column that went meanwhile',
    failure('column "bandcamp_id" does not exist', { code: '42703' }),
    'column "bandcamp_id" does not exist (42703). A column is gone: identity-sync migrate names it, with its type.',
  ],
  [
    'a refusal of ours, with its hint',
    failure('batch_size is 0', { code: 'LS001', hint: 'Allowed: 1 to 1000.', detail: 'unused' }),
    'batch_size is 0. Allowed: 1 to 1000.',
  ],
  [
    'rows that others hold, with their sessions',
    failure('another session is writing', { code: '55P03', detail: 'Sessions: 8544.', hint: 'Try again.' }),
    'another session is writing (55P03). Sessions: 8544. Try again.',
  ],
  [
    'whatever else a server says, with its detail, in one line',
    failure('could not extend file:\nNo space left', { code: '53100', detail: 'wrote 0 of 8192' }),
    'could not extend file: No space left (53100). wrote 0 of 8192.',
  ],
  [
    'a socket that was lost, which names its code itself',
    failure('read ECONNRESET', { code: 'ECONNRESET' }),
    'read ECONNRESET.',
  ],
  [
    'a port that this user may not open',
    failure('listen EACCES', { code: 'EACCES', syscall: 'listen', port: 80 }),
    'port 80 may not be used by this user (EACCES). HEALTH_PORT names another.',
  ],
  [
    'a URL with a login in it',
    failure('cannot reach postgres://wxyc:hunter2@db/station', {}),
    'cannot reach postgres://db/station.',
  ],
])('%s', (_, error, words) => {
  expect(inWords(error).words).toBe(words);
});
