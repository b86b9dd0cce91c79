import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

// Both ends of the supported range, each with a server of its own; or the one server that the caller names.
const servers = process.env.TEST_DATABASE_URL ? ['TEST_DATABASE_URL'] : ['pg14', 'pg18'];

export default defineConfig({
  root: fileURLToPath(new URL('..', import.meta.url)),
  test: {
    maxWorkers: 2,
    // Real processes and sockets on a machine that others share: a fault suite there may miss a bound once, never thrice.
    retry: process.env.CI ? 2 : 0,
    projects: servers.map((name) => ({
      extends: true,
      test: {
        name,
        include: ['tests/**/*.test.ts'],
        globalSetup: 'tests/support/global-setup.ts',
        testTimeout: 30_000,
        hookTimeout: 30_000,
      },
    })),
  },
});
