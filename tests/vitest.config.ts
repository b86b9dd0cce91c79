import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const ALL = 'tests/**/*.test.ts';
const FAULTS = 'tests/faults/**/*.test.ts';

// No version of the server changes what these prove: how processes, sockets, pages and files behave, what a report counts,
// what a table of the judge or the real catalogue's numbers say. What locks, writes or plans runs at both ends, and so does
// what reads PostgreSQL's own catalogue.
const ANY_VERSION = [
  'tests/{carry,cli,line,report,screens,worker}/**/*.test.ts',
  'tests/conventions/!(catalogue|drift).test.ts',
  'tests/judge/judge_identity_verdicts/{corpus,spellings}.test.ts',
  'tests/{run/brake_identity_run/real-order,write/apply_identity_verdicts/refusals}.test.ts',
  'tests/observe/*.test.ts',
  'tests/observe/!(assert_program_fits|closed_queue|identity_check|lost_columns|missing_migrations)/*.test.ts',
  'tests/support/!(embedded-postgres).test.ts',
];

// Both ends of the supported range, each with a server of its own; or the one server that the caller names.
const projects = process.env.TEST_DATABASE_URL
  ? [{ name: 'TEST_DATABASE_URL', include: [ALL], exclude: [FAULTS] }]
  : [
      { name: 'pg18', include: [ALL], exclude: [FAULTS] },
      { name: 'pg14', include: [ALL], exclude: [FAULTS, ...ANY_VERSION] },
    ];

// Real outages on a machine that others share may miss a bound once. A second try is named as flaky, with its error.
const faults = { name: 'faults', include: [FAULTS], retry: 1 };

export default defineConfig({
  root: fileURLToPath(new URL('..', import.meta.url)),
  test: {
    // More than a CI machine has cores, since most tests wait: for a process to start, a lock, a lease.
    maxWorkers: 5,
    // A process loads what its test files share once, and no test file leaves anything behind in it.
    isolate: false,
    reporters: ['default', './tests/support/flaky-reporter.ts'],
    projects: [...projects, faults].map((project) => ({
      extends: true,
      test: {
        ...project,
        globalSetup: 'tests/support/global-setup.ts',
        // On a busy machine a process may take a minute to start.
        testTimeout: 300_000,
        hookTimeout: 300_000,
        expect: { poll: { timeout: 120_000 } },
      },
    })),
  },
});
