// The benchmark: what a verdict costs here, beside the job that is replaced and beside what PostgreSQL takes at least.
//   npm run bench -- [--only apply,run,grow,age,slow] [--rounds 5] [--rows 64676] [--version 18]
//                    [--sizes 10000,…] [--drain 100000] [--json FILE] [--plot FILE]
// One durable server; variants take turns in each round, each in a fresh copy of a template; medians over the rounds.
// "age" (a million rows after a thousand nights: five minutes) and "slow" (LML takes 1.9 s a call, as in production: a minute and a
// half) run only where they are named.
import { writeFile } from 'node:fs/promises';
import { cpus, loadavg, totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import { startAnswers } from './answers.js';
import { identitySyncRun } from './command-line.js';
import { type Compared, compare, PASSES, variantsOf } from './comparison.js';
import { judgeGoals, type Measured, type Slow } from './goals.js';
import { type Aged, age, type Grown, grow } from './growth.js';
import { plot } from './plot.js';
import { agedTable, comparisonTables, goalsTable, growthTable, lmlLine } from './report.js';
import { fillCatalogue, moveIn, type Server, startServer } from './server.js';
import { batchesOf } from './verdicts.js';
import { FLOORS_SQL, indexStages, stage } from './writers.js';

const PARTS = ['apply', 'run', 'grow', 'age', 'slow'];
const LEGEND = `Bytes and µs are a verdict's. gain: row by row's time over this one; of pages: the WAL that is whole pages, written at
their first change after the checkpoint; growth: of the database; Node and server µs: time of the processors.`;
const AGE = { rows: 1_000_000, runs: 1000, keepDays: 30, claims: 2000 };
const SLOW = { latencySeconds: 1.9, concurrency: 4 };

const { values: flags } = parseArgs({
  options: {
    only: { type: 'string', default: 'apply,run,grow' },
    rounds: { type: 'string', default: '5' },
    rows: { type: 'string', default: '64676' },
    version: { type: 'string', default: '18' },
    sizes: { type: 'string', default: '10000,64676,100000,250000,1000000' },
    drain: { type: 'string', default: '100000' },
    json: { type: 'string' },
    plot: { type: 'string' },
  },
});
const parts = flags.only.split(',');
const unknown = parts.find((part) => !PARTS.includes(part));
if (unknown !== undefined) throw new Error(`--only is ${unknown}; allowed: ${PARTS.join(',')}`);
if (flags.version !== '14' && flags.version !== '18') throw new Error('--version is 14 or 18');
const rows = positive('--rows', flags.rows);
const rounds = positive('--rounds', flags.rounds);
const drainUpTo = positive('--drain', flags.drain);
const sizes = flags.sizes.split(',').map((size) => positive('--sizes', size));

const started = performance.now();
const machine = {
  processor: cpus()[0]?.model,
  cores: cpus().length,
  gigabytes: Math.round(totalmem() / 2 ** 30),
  node: process.version,
  loadBefore: loadavg()[0]!,
};
const [server, answers] = await Promise.all([
  startServer(flags.version === '14' ? 14 : 18),
  startAnswers(parts.includes('grow') ? Math.max(rows, drainUpTo) : rows),
]);
try {
  const measured = await measureParts();
  const goals = judgeGoals(measured);
  print(measured, goalsTable(goals));
  if (flags.json) {
    const result = { machine, server: server.version, options: flags, ...measured, goals };
    await writeFile(flags.json, `${JSON.stringify(result, null, 2)}\n`);
  }
  if (flags.plot) await writeFile(flags.plot, plot(measured));
} finally {
  await answers.stop();
  await server.stop();
}

async function measureParts(): Promise<Measured> {
  await makeTemplates(server);
  let compared: Compared[] = [];
  let grown: Grown[] = [];
  if (parts.includes('apply') || parts.includes('run')) {
    compared = await compare(server, variantsOf(parts, rows, answers), { rounds, say });
  }
  if (parts.includes('grow')) {
    grown = await grow(server, answers, { sizes, drainUpTo, rounds, say });
  }
  const aged: Aged | null = parts.includes('age') ? await age(server, { ...AGE, rounds, say }) : null;
  const slow = parts.includes('slow') ? await slowRun() : null;
  return { rows, compared, grown, aged, slow };
}

async function makeTemplates(server: Server): Promise<void> {
  say('making the templates');
  await server.template('migrated', null, moveIn);
  if (parts.some((part) => part !== 'grow' && part !== 'age'))
    await server.template('catalogue', 'migrated', ({ sql }) => fillCatalogue(sql, rows));
  if (!parts.includes('apply')) return;
  await server.template('staged', 'catalogue', async ({ sql }) => {
    await sql.unsafe(FLOORS_SQL);
    for (const content of new Set(PASSES.map((pass) => pass.content))) {
      await stage(sql, content, batchesOf(rows, content));
    }
    await indexStages(sql);
  });
}

async function slowRun(): Promise<Slow> {
  const { latencySeconds, concurrency } = SLOW;
  say(`a run at ${latencySeconds} s a call, concurrency ${concurrency}`);
  const database = await server.clone('catalogue');
  const { usage, report } = await identitySyncRun([], {
    DATABASE_URL: database.url,
    LIBRARY_METADATA_URL: answers.url('original', latencySeconds * 1000),
    LML_CONCURRENCY: String(concurrency),
  });
  await database.drop();
  return { usage, calls: report.lml_total_calls, ...SLOW };
}

function print(measured: Measured, goals: string): void {
  const { compared, grown, slow } = measured;
  const { processor, cores, gigabytes, node, loadBefore } = machine;
  console.log(`PostgreSQL ${server.version} · Node ${node} · ${processor}, ${cores} cores, ${gigabytes} GB`);
  console.log(
    `load before ${loadBefore.toFixed(1)}, after ${loadavg()[0]!.toFixed(1)} · ${rounds} rounds · medians, a verdict`,
  );
  if (compared.length > 0) {
    console.log(comparisonTables(compared));
    console.log(LEGEND);
    console.log(lmlLine(compared));
  }
  if (grown.length > 0) console.log(growthTable(measured));
  if (measured.aged) console.log(agedTable(measured));
  if (slow) {
    const { usage, calls } = slow;
    console.log(
      `At 1.9 s a call, concurrency 4: ${calls} calls in ${usage.seconds.toFixed(1)} s, ${usage.nodeMegabytes!.toFixed(0)} MB`,
    );
  }
  console.log(goals);
  if (rows !== 64_676 || rounds < 5)
    console.log('The goals are meant for 64,676 rows and five rounds at least.');
}

function positive(name: string, text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new Error(`${name} is ${text}; allowed: 1 and more`);
  return Number(text);
}

function say(words: string): void {
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  process.stderr.write(`${seconds.padStart(6)} s  ${words}\n`);
}
