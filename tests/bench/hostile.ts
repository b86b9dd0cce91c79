// The hostile answers: what each costs the database in time, memory and temporary files.
//   npx tsx tests/bench/hostile.ts [--only WORD] [--version 18] [--json FILE] [--before FILE]
// Each answer comes into a fresh copy of a catalogue of 31,000 rows and is applied as the service does it, for 500 ids.
// No answer, which has at most 64 MB, may take more than 10 s and 1 GB. --before adds the figures of an earlier --json.
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ownWords } from '../support/pending.js';
import { applyDefinitions, readText } from '../support/repository.js';
import { table } from './report.js';
import { connect, fillCatalogue, moveIn, startServer } from './server.js';

const ASKED = 500;
const ROWS = 31_000;
const GIVE_UP = '100s';
const WHOLE = 23_990_000;
const GREATEST = 64 * 1024 * 1024 - 1024;

const good = (id: number, more = '') =>
  `{"library_id":${id},"kind":"single_artist","main":{"discogs_artist_id":5},"method":"exact_match",` +
  `"confidence":1,"provenance":[{"source":"discogs","external_id":"5","method":"exact_match","confidence":1}]${more}}`;
const results = (list: string[]) => `{"results":[${list.join(',')}]}`;
const times = (count: number, each: (index: number) => string) =>
  Array.from({ length: count }, (_, n) => each(n + 1));
/** The text over and over: 24 MB are the greatest answer that is read, 64 MB the greatest that is received. */
const fill = (text: string, bytes = WHOLE) => text.repeat(Math.floor(bytes / text.length));
const list = (text: string) => `{"results":[${fill(`${text},`)}${text}]}`;
const nested = (depth: number, inner: string) => `${'['.repeat(depth)}${inner}${']'.repeat(depth)}`;

interface Case {
  name: string;
  body: () => string;
  asked?: number;
  /** Newer identities are there already. */
  stale?: boolean;
}

const CASES: Case[] = [
  { name: '500 good verdicts', body: () => results(times(500, good)) },
  { name: '10,000 results name one id', body: () => results(times(10_000, () => good(1))) },
  { name: '10,000 results without an id', body: () => results(times(10_000, () => '{"kind":7}')) },
  {
    name: '100,000 foreign ids',
    body: () => results(times(100_000, (n) => `{"library_id":${n + 1_000_000}}`)),
  },
  { name: '30,000 stale verdicts', body: () => results(times(30_000, good)), asked: 30_000, stale: true },
  {
    name: '2,000,000 NULs in one string',
    body: () => results([good(1, `,"note":"${'\\u0000'.repeat(2e6)}"`), good(2)]),
  },
  {
    name: '500,000 lone surrogates in one string',
    body: () => results([good(1, `,"note":"${'\\ud83c'.repeat(500_000)}"`), good(2)]),
  },
  {
    name: 'one NUL under 400 levels beside 5 MB',
    body: () => results([good(1, `,"note":${nested(400, `"${'x'.repeat(5e6)}","\\u0000"`)}`), good(2)]),
  },
  {
    name: 'one NUL in each of 5,000 results',
    body: () => results(times(5_000, (n) => good(n, ',"note":"\\u0000"'))),
  },
  {
    name: '9,000 number bombs as a kind',
    body: () => results([`{"library_id":1,"kind":[${times(9000, () => '1e131071')}]}`, good(2)]),
  },
  {
    name: '9,000 number bombs beside an unknown kind',
    body: () => results([`{"library_id":1,"kind":"x","note":[${times(9000, () => '1e131071')}]}`, good(2)]),
  },
  { name: '24 MB of NULs', body: () => results([good(1, `,"note":"${fill('\\u0000')}"`), good(2)]) },
  {
    name: '24 MB of lone surrogates',
    body: () => results([good(1, `,"note":"${fill('\\ud83c')}"`), good(2)]),
  },
  {
    name: '24 MB of pairs and one NUL',
    body: () => results([good(1, `,"note":"${fill('\\ud83c\\udfb7')}\\u0000"`), good(2)]),
  },
  {
    name: '24 MB of backslashes and one NUL',
    body: () => results([good(1, `,"note":"${fill('\\\\')}\\u0000"`), good(2)]),
  },
  { name: '24 MB in one string', body: () => results([good(1, `,"note":"${fill('x')}"`), good(2)]) },
  {
    name: '24 MB in one string and one NUL',
    body: () => results([good(1, `,"note":"${fill('x')}\\u0000"`), good(2)]),
  },
  { name: '24 MB as a kind', body: () => results([`{"library_id":1,"kind":"${fill('x')}"}`, good(2)]) },
  {
    name: '24 MB as an id of bandcamp',
    body: () => results([good(1).replace('"discogs_artist_id":5', `"bandcamp_id":"${fill('x')}"`), good(2)]),
  },
  {
    name: '24 MB of numbers in one field',
    body: () => results([good(1, `,"note":[${fill('1,')}1]`), good(2)]),
  },
  {
    name: '24 MB of number bombs',
    body: () => results([good(1, `,"note":[${fill('1e131071,')}1]`), good(2)]),
  },
  {
    name: '24 MB of number bombs as a kind',
    body: () => results([`{"library_id":1,"kind":[${fill('1e131071,')}1]}`, good(2)]),
  },
  {
    name: '24 MB of legs',
    body: () => results([good(1).replace('"provenance":[', `"provenance":[${fill('{},')}`), good(2)]),
  },
  {
    name: '24 MB of sources',
    body: () =>
      results([
        good(1).replace(
          '"provenance":[',
          `"provenance":[${fill('{"source":"discogs","external_id":"5","method":"exact_match","confidence":1},')}`,
        ),
        good(2),
      ]),
  },
  {
    name: '990,000 empty legs',
    body: () =>
      results([good(1).replace('"provenance":[', `"provenance":[${'{},'.repeat(990_000)}`), good(2)]),
  },
  {
    name: '990,000 good legs and a bad one',
    body: () =>
      results([
        good(1).replace('"provenance":[', `"provenance":[${'{"source":"a"},'.repeat(990_000)}7,`),
        good(2),
      ]),
  },
  {
    name: '1,990,000 arrays, nested',
    body: () => results([good(1, `,"note":[${`${nested(100, '')},`.repeat(19_700)}1]`), good(2)]),
  },
  {
    name: '24 MB of tracks',
    body: () =>
      `{"tracks_contract_version":1,"results":[{"library_id":1,"kind":"compilation","main":null,"method":null,"confidence":null,"provenance":[],"tracks":[${fill('{"artist_name":"a","track_title":"b","resolved_artist_name":"c"},')}{}]}]}`,
  },
  {
    name: '150,000 foreign results, 30,000 asked',
    body: () => results(times(150_000, (n) => `{"library_id":${n + 1_000_000}}`)),
    asked: 30_000,
  },
  { name: '200,000 empty results', body: () => results(times(200_000, () => '{}')) },
  { name: '24 MB of empty results', body: () => list('{}') },
  { name: '24 MB of results that are numbers', body: () => list('7') },
  { name: '24 MB of results for one id', body: () => list(good(1)) },
  { name: '24 MB of foreign results', body: () => list('{"library_id":9999999}') },
  {
    name: '24 MB of foreign results and one NUL',
    body: () =>
      list(
        '{"library_id":9999999,"note":"some text of more than a few words, so that there are fewer"}',
      ).replace('some', '\\u0000'),
  },
  { name: '24 MB of results with a NUL each', body: () => list(good(1, ',"note":"\\u0000"')) },
  { name: '24 MB of brackets', body: () => fill('[') },
  { name: '24 MB nested in one field', body: () => results([good(1, `,"note":${nested(WHOLE / 2, '')}`)]) },
  {
    name: '24 MB of names in one object',
    body: () => `{"results":[{"library_id":1,${times(4_000_000, (n) => `"n${n}":1`)}}]}`.slice(0, WHOLE),
  },
  {
    name: '24 MB of names, one NUL',
    body: () => `{"results":[{"library_id":1,"a":"\\u0000",${times(3_000_000, (n) => `"name ${n}":1`)}}]}`,
  },
  { name: '24 MB of HTML', body: () => fill('<html>') },
  { name: '24 MB of spaces', body: () => fill(' ') },
  {
    name: '64 MB in one string',
    body: () => results([good(1, `,"note":"${fill('x', GREATEST)}"`), good(2)]),
  },
  { name: '64 MB of results', body: () => `{"results":[${fill('{},', GREATEST)}{}]}` },
  {
    name: '64 MB of NULs',
    body: () => results([good(1, `,"note":"${fill('\\u0000', GREATEST)}"`), good(2)]),
  },
];

interface Measured {
  name: string;
  megabytes: number;
  seconds: number;
  /** Of the session's process, since other work makes the clock run on. */
  cpuSeconds: number;
  /** The most that the session's process held for itself. */
  memoryMegabytes: number;
  temporaryMegabytes: number;
  outcome: string;
}

const { values: flags } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    version: { type: 'string', default: '18' },
    json: { type: 'string' },
    before: { type: 'string' },
  },
});
const before: Measured[] = flags.before ? JSON.parse(readFileSync(flags.before, 'utf8')) : [];
const server = await startServer(flags.version === '14' ? 14 : 18);
const measured: Measured[] = [];
try {
  await server.template('moved_in', null, async (database) => {
    await moveIn(database);
    await database.sql.unsafe(ownWords(readText('migrations/current.sql')));
    await applyDefinitions(database.sql);
    await fillCatalogue(database.sql, ROWS);
  });
  for (const each of CASES.filter(({ name }) => name.includes(flags.only)))
    measured.push(await measure(each));
} finally {
  await server.stop();
}
if (flags.json) await writeFile(flags.json, JSON.stringify(measured));
console.log(tableOf(measured));

async function measure({ name, body, asked = ASKED, stale = false }: Case): Promise<Measured> {
  const database = await server.clone('moved_in');
  const text = body();
  const ids = Array.from({ length: asked }, (_, n) => n + 1);
  const session = connect(database.url);
  if (stale) {
    await session`
      insert into wxyc_schema.library_identity (library_id, method, confidence, last_verified_at)
      select id, 'exact_match', 1, now() + interval '30 seconds' from unnest(${ids}::integer[]) as id`;
  }
  await session`select set_config('statement_timeout', ${GIVE_UP}, false)`;
  const [{ pid }] = await session<[{ pid: number }]>`select pg_backend_pid() as pid`;
  let memory = 0;
  let isDone = false;
  const watching = (async () => {
    while (!isDone) {
      memory = Math.max(memory, ownMemory(pid));
      await sleep(20);
    }
  })();

  const cpuBefore = cpuSeconds(pid);
  const started = performance.now();
  const outcome = await session`
    select identity_sync.apply_identity_response(${text}, ${ids}::integer[], 'consumer:lml-bulk') as report`.then(
    ([row]) => told(row!.report),
    (error) => `error ${error.code ?? error.message}`,
  );
  const seconds = (performance.now() - started) / 1000;
  const cpu = cpuSeconds(pid) - cpuBefore;
  isDone = true;
  await watching;
  const listed = await session`select count(*), sum(length(verdict)) from identity_sync.quarantine`.then(
    () => '',
    (error) => `; quarantine: error ${error.code}`,
  );
  await session.end();
  await sleep(1100);
  const [{ temporary }] = await database.sql<[{ temporary: number }]>`
    select temp_bytes::float8 as temporary from pg_stat_database where datname = current_database()`;
  await database.drop();
  const result = {
    name,
    megabytes: Buffer.byteLength(text) / 2 ** 20,
    seconds,
    cpuSeconds: cpu,
    memoryMegabytes: memory,
    temporaryMegabytes: temporary / 2 ** 20,
    outcome: outcome + listed,
  };
  console.error(
    `${name}: ${seconds.toFixed(2)} s (${cpu.toFixed(2)} s of the processor), ${Math.round(memory)} MB, ${result.outcome}`,
  );
  return result;
}

function told(report: Record<string, unknown>): string {
  const skipped = Object.entries(report.rows_skipped as Record<string, number>).filter(
    ([, count]) => count > 0,
  );
  return [['resolved', report.rows_resolved], ...skipped].map(([key, count]) => `${key} ${count}`).join(', ');
}

/** The processor's time that the process has taken. */
function cpuSeconds(pid: number): number {
  // After the command's name, in brackets, come the state and, further on, the times in ticks of 10 ms.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ').map(Number);
  return (fields[11]! + fields[12]!) / 100;
}

/** Megabytes that the process does not share with others. */
function ownMemory(pid: number): number {
  try {
    const [, kilobytes] = readFileSync(`/proc/${pid}/status`, 'utf8').match(/^RssAnon:\s+(\d+)/m) ?? [];
    return Number(kilobytes ?? 0) / 1024;
  } catch {
    return 0;
  }
}

function tableOf(cases: Measured[]): string {
  const head = [
    'answer',
    'MB',
    's',
    's before',
    'CPU s',
    'before',
    'memory MB',
    'before',
    'temporary MB',
    'before',
    'outcome',
    'outcome before',
  ];
  const lines = cases.map((each) => {
    const earlier = before.find(({ name }) => name === each.name);
    const pair = (
      key: 'seconds' | 'cpuSeconds' | 'memoryMegabytes' | 'temporaryMegabytes',
      digits: number,
    ) => [each[key].toFixed(digits), earlier?.[key]?.toFixed(digits) ?? ''];
    return [
      each.name,
      each.megabytes.toFixed(1),
      ...pair('seconds', 2),
      ...pair('cpuSeconds', 2),
      ...pair('memoryMegabytes', 0),
      ...pair('temporaryMegabytes', 0),
      each.outcome,
      earlier?.outcome ?? '',
    ];
  });
  return table(head, lines);
}
