import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const ALL = 'tests/**/*.test.ts';
const FAULTS = 'tests/faults/**/*.test.ts';

// These prove something about processes, sockets, settings or files, none of which depends on the server's version.
const ANY_VERSION = [
  'tests/{carry,cli,line,worker}/**/*.test.ts',
  'tests/conventions/{packages,sources,sql}.test.ts',
  'tests/observe/*.test.ts',
  'tests/support/{flaky-reporter,stand-in}.test.ts',
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
        // On a busy machine a process may take half a minute to start.
        testTimeout: 120_000,
        hookTimeout: 120_000,
      },
    })),
  },
});
