// A test's surroundings. Each is made for the test that names it and goes after that test: the program first, then LML,
// then the database. For surroundings that several tests share there is `useDatabase`.
import { test as base } from 'vitest';
import { loadIdentities, type StandInOptions, startStandIn } from '../../src/demo/stand-in.js';
import type { Ended, RunningCli } from './cli.js';
import { cloneDatabase } from './database.js';
import { NEVER } from './faults.js';

export interface Cli {
  /** Starts the program on the test's database and LML, with these settings besides. */
  start(args: string[], settings?: Record<string, string>): RunningCli;
  /** The same, to its end. */
  run(args: string[], settings?: Record<string, string>): Promise<Ended>;
  /** Starts a worker, which plans nothing by itself, and waits until it is up. */
  worker(settings?: Record<string, string>): Promise<RunningCli>;
}

let identities: ReturnType<typeof loadIdentities> | undefined;

export const test = base
  // biome-ignore lint/correctness/noEmptyPattern: the test runner reads from the pattern what a fixture needs
  .extend('database', async ({}, { onCleanup }) => {
    const database = await cloneDatabase();
    onCleanup(() => database.drop());
    return database;
  })
  /** How LML answers: `test.override('answers', { latencyMs: 500 })`. */
  .extend('answers', {} as Partial<StandInOptions>)
  .extend('lml', async ({ answers }, { onCleanup }) => {
    identities ??= loadIdentities();
    const lml = await startStandIn({ identities, ...answers });
    onCleanup(() => lml.close());
    return lml;
  })
  .extend('cli', async ({ database, lml }, { onCleanup }): Promise<Cli> => {
    // Only here, since it compiles the program.
    const { cli, killLeftovers, startCli } = await import('./cli.js');
    onCleanup(() => killLeftovers());
    const place = { DATABASE_URL: database.url, LIBRARY_METADATA_URL: lml.url, PLAN_CRON: NEVER };
    return {
      start: (args, settings) => startCli(args, { ...place, ...settings }),
      run: (args, settings) => cli(args, { ...place, ...settings }),
      async worker(settings) {
        const worker = startCli(['worker'], { ...place, ...settings });
        await worker.says('the worker is up');
        return worker;
      },
    };
  });
