// Breaks the functions of sql/functions, one token at a time, and runs the tests of the function's folder, then of its room.
//   npm run mutants -- ROOM|FUNCTION… [--each 8] [--seed 1] [--folder-only]
// Every mutant dies, or stands in survivors.ts with its reason; one that is in neither makes the exit status 1.
import { parseArgs } from 'node:util';
import postgres from 'postgres';
import { createVitest, type Reporter, type TestProject } from 'vitest/node';
import { definitions, ROOT, type SqlFile } from '../support/repository.js';
import { type Mutant, mutantsOf } from './breaks.js';
import { SURVIVORS } from './survivors.js';

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    each: { type: 'string', default: '8' },
    seed: { type: 'string', default: '1' },
    'folder-only': { type: 'boolean', default: false },
  },
});
const wanted = (file: SqlFile) =>
  positionals.length === 0 || positionals.includes(file.room) || positionals.includes(file.name);
const files = definitions('functions').filter(wanted);
if (files.length === 0) throw new Error(`neither a room nor a function: ${positionals.join(', ')}`);

// A mutant may wait for ever; what a test needs is a fraction of this.
const TIMEOUT_MS = 60_000;

const failures: string[] = [];
let passed = 0;
const listener: Reporter = {
  onTestCaseResult(test) {
    const { state } = test.result();
    if (state === 'failed') failures.push(test.fullName);
    if (state === 'passed') passed++;
  },
  onTestModuleEnd: (module) => void (module.state() === 'failed' && failures.push(module.relativeModuleId)),
};
const vitest = await createVitest('test', {
  root: ROOT,
  config: 'tests/vitest.config.ts',
  project: ['pg18'],
  watch: false,
  bail: 1,
  maxWorkers: 2,
  testTimeout: TIMEOUT_MS,
  hookTimeout: TIMEOUT_MS,
  reporters: [listener],
});

/** How many tests of a path pass without a mutant. */
const passing = new Map<string, number>();
const counts = new Map<string, { mutants: number; died: number; listed: number; survived: number }>();
try {
  const project = vitest.projects.find(({ name }) => name === 'pg18')!;
  if (!flags['folder-only']) {
    for (const room of new Set(files.map((file) => file.room))) await expectToPass(`tests/${room}/`);
  }
  for (const file of files) await tryFunction(project, file);
} finally {
  await vitest.close();
}
for (const [room, { mutants, died, listed, survived }] of counts) {
  console.log(`${room}: ${mutants} mutants, ${died} died, ${listed} listed, ${survived} survived`);
}
process.exitCode = [...counts.values()].some(({ survived }) => survived > 0) ? 1 : 0;

/** Tries a sample of a function's mutants; those that PostgreSQL does not even create are none. */
async function tryFunction(project: TestProject, file: SqlFile): Promise<void> {
  const { room, name } = file;
  const count = counts.get(room) ?? { mutants: 0, died: 0, listed: 0, survived: 0 };
  counts.set(room, count);
  await expectToPass(`tests/${room}/${name}/`);
  let tried = 0;
  for (const mutant of shuffled(mutantsOf(file), `${flags.seed} ${name}`)) {
    if (tried >= Number(flags.each)) break;
    const refusal = await install(project, mutant.text);
    if (refusal) continue;
    tried++;
    count.mutants++;
    const folder = await runTests(`tests/${room}/${name}/`);
    const killer = folder ?? (flags['folder-only'] ? undefined : await runTests(`tests/${room}/`));
    const listed = SURVIVORS.find(
      ({ of, from, to }) => of === `${room}/${name}` && from === mutant.from && to === mutant.to,
    );
    if (killer) count.died++;
    else if (listed) count.listed++;
    else count.survived++;
    const fate = killer ? (folder ? 'died' : 'died in its room') : listed ? 'listed' : 'SURVIVED';
    console.log(
      `${fate}  ${room}/${name}  ${mutant.kind}: ${mutant.from}  →  ${mutant.to}${killer ? `  [${killer.slice(0, 80)}]` : ''}`,
    );
  }
  await install(project, file.text);
}

/** Runs the tests under a path once without a mutant. */
async function expectToPass(path: string): Promise<void> {
  if (passing.has(path)) return;
  const failed = await runTests(path);
  if (failed) throw new Error(`a test of ${path} fails without a mutant: ${failed}`);
  passing.set(path, passed);
}

/** Runs the tests under a path, to the first that fails, and returns its name. */
async function runTests(path: string): Promise<string | undefined> {
  const specifications = await vitest.globTestSpecifications([path]);
  const found = specifications.filter(({ project }) => project.name === 'pg18');
  if (found.length === 0) throw new Error(`no test in ${path}`);
  // A run that ended at its first failure may cut off the one that follows it: what was not run has not passed.
  for (let tries = 0; tries < 5; tries++) {
    failures.length = 0;
    passed = 0;
    await vitest.runTestSpecifications(found);
    if (failures[0] || passed >= (passing.get(path) ?? 1)) return failures[0];
  }
  throw new Error(`the tests of ${path} do not run to their end`);
}

/** Puts a definition into the databases that the test files clone and share; returns why PostgreSQL refuses it. */
async function install(project: TestProject, text: string): Promise<string | undefined> {
  const { url, template, readOnlyUrl } = project.getProvidedContext().server;
  const admin = postgres(url, { max: 1, onnotice: () => {} });
  await admin`alter database ${admin(template)} allow_connections true`;
  try {
    for (const place of [Object.assign(new URL(url), { pathname: template }).href, readOnlyUrl]) {
      const sql = postgres(place, { max: 1, onnotice: () => {} });
      await sql`set default_transaction_read_only = off`;
      await sql.unsafe(text).finally(() => sql.end());
    }
    return undefined;
  } catch (error) {
    return (error as Error).message;
  } finally {
    await admin`alter database ${admin(template)} allow_connections false`;
    await admin.end();
  }
}

/** The same order for the same seed; one of each kind comes before the second of any. */
function shuffled(mutants: Mutant[], seed: string): Mutant[] {
  const random = randomBy(seed);
  const seen = new Map<string, number>();
  return mutants
    .map((mutant) => ({ mutant, key: random() }))
    .sort((one, other) => one.key - other.key)
    .map(({ mutant, key }) => {
      const turn = seen.get(mutant.kind) ?? 0;
      seen.set(mutant.kind, turn + 1);
      return { mutant, key: turn + key };
    })
    .sort((one, other) => one.key - other.key)
    .map(({ mutant }) => mutant);
}

/** Mulberry32 over a hash of the seed. */
function randomBy(seed: string): () => number {
  let state = [...seed].reduce((hash, sign) => Math.imul(hash ^ sign.charCodeAt(0), 16777619), 2166136261);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
