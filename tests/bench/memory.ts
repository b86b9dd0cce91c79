// `npx tsx tests/bench/memory.ts [--calls 2,16,32] [--only WORD]`: the most memory that a run takes, by its calls in flight,
// over answers for 1,000 compilations (11 MB) and over the greatest that are read (24 MB), all sent at once.
import { parseArgs } from 'node:util';
import { startStandIn } from '../../src/demo/stand-in.js';
import { identitySyncRun } from './command-line.js';
import { table } from './report.js';
import { moveIn, startServer } from './server.js';

const BATCH = 1000;
const CREDITS = 56;

// Most answers hold a letter that is not Latin, which doubles the memory of the whole text.
const LETTER = '細';

const credit = JSON.stringify({
  track_position: 'A1',
  artist_name: `Ryuichi Sakamoto ${LETTER}`,
  track_title: 'The Land Song (Music for Artelligent City)',
  resolved_artist_name: 'Ryuichi Sakamoto',
  confidence: 1,
  method: 'exact_match',
  sources: [],
});
const NOTHING = '"main":null,"method":null,"confidence":null,"provenance":[]';
const tracks = `[${Array<string>(CREDITS).fill(credit).join(',')}]`;
const note = 'x'.repeat(23_900_000);

const ANSWERS: Record<string, (ids: number[]) => string> = {
  compilations: (ids) =>
    `{"tracks_contract_version":1,"results":[${ids.map((id) => `{"library_id":${id},"kind":"compilation",${NOTHING},"tracks_attempted":true,"tracks":${tracks}}`)}]}`,
  greatest: (ids) =>
    `{"results":[${ids.map((id) => `{"library_id":${id},"kind":"unresolved",${NOTHING}}`)}],"note":"${note.slice(ids.length * 120)}${LETTER}"}`,
};

const { values: flags } = parseArgs({
  options: { calls: { type: 'string', default: '2,16,32' }, only: { type: 'string', default: '' } },
});
const server = await startServer(18);
const lines: string[][] = [];
try {
  for (const [name, body] of Object.entries(ANSWERS).filter(([each]) => each.includes(flags.only))) {
    for (const calls of flags.calls.split(',').map(Number)) lines.push(await measure(name, body, calls));
  }
} finally {
  await server.stop();
}
console.log(table(['answers', 'calls in flight', 'MB an answer', 'batches', 's', 'MB at most'], lines));

async function measure(name: string, body: (ids: number[]) => string, calls: number): Promise<string[]> {
  const batches = Math.ceil(calls * 1.25);
  const template = `${name}_${calls}`;
  await server.template(template, null, async (database) => {
    await moveIn(database);
    await database.sql`insert into wxyc_schema.artists (artist_name) values ('Various Artists')`;
    await database.sql`
      insert into wxyc_schema.library (artist_id, artist_name, album_title, code_volume_letters, legacy_release_id)
      select 1, 'Various Artists', 'Volume ' || n, 'Z', n from generate_series(1, ${batches * BATCH}::integer) as n`;
  });
  const database = await server.clone(template);
  let bytes = 0;
  const lml = await startStandIn({
    identities: new Map(),
    answer: ({ inputs }) => {
      const answer = Buffer.from(body(inputs.map((input) => input.library_id)));
      bytes = Math.max(bytes, answer.length);
      return { body: answer };
    },
  });
  try {
    const settings = {
      DATABASE_URL: database.url,
      LIBRARY_METADATA_URL: lml.url,
      LML_CONCURRENCY: String(calls),
      LML_TIMEOUT_MS: '600000',
      VA_BATCH_SIZE: String(BATCH),
      INCLUDE_NULL_CANONICAL: 'true',
    };
    const ended = await identitySyncRun(['--accept', 'unresolved'], settings).catch((error: Error) => error);
    if (ended instanceof Error) {
      const isFull = ended.message.includes('heap out of memory');
      return [name, calls, (bytes / 1e6).toFixed(1), batches, '', isFull ? 'out of memory' : 'failed'].map(
        String,
      );
    }
    const { usage, report } = ended;
    if (report.scanned !== batches * BATCH || report.lml_total_calls !== batches)
      throw new Error(`${report.scanned} rows in ${report.lml_total_calls} calls`);
    const { seconds, nodeMegabytes } = usage;
    return [
      name,
      calls,
      (bytes / 1e6).toFixed(1),
      batches,
      seconds.toFixed(0),
      nodeMegabytes!.toFixed(0),
    ].map(String);
  } finally {
    await lml.close();
    await database.drop();
  }
}
