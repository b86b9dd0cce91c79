// The comparison: every variant writes the same verdicts four times, in databases of its own, round by round.
import type { Answers } from './answers.js';
import { identitySyncRun } from './command-line.js';
import { countRoundTrips } from './round-trips.js';
import { cpuMsOf, type Database, type Measurement, type Server, type Usage } from './server.js';
import { batchesOf, type Content } from './verdicts.js';
import { applyByHand, claimAll, finishCalls, writeJson, writeRowByRow, writeStaged } from './writers.js';

export const PASSES = [
  { name: 'first write', content: 'original' },
  { name: 'nothing changed', content: 'original' },
  { name: '1 % changed', content: 'touched' },
  { name: 'everything changed', content: 'renewed' },
] as const satisfies { name: string; content: Content }[];

export type Pass = (typeof PASSES)[number]['name'];

export const ROW_BY_ROW = 'row by row';
export const TYPED_FLOOR = 'floor: typed staging';
export const JSON_FLOOR = 'floor: JSON text';
export const JSON_FLOOR_TWO = 'floor: JSON text, two connections';
export const LANE = 'lane, one connection';
export const LANE_TWO = 'lane, two connections';
export const BY_HAND = 'apply by hand, one connection';
export const RUN = 'identity-sync run';

// Row by row the whole catalogue takes minutes. A row's cost does not depend on how many follow it, so the first
// ones do; they lie together, so that they share pages as all of them would.
const ROW_BY_ROW_ROWS = 3000;

interface Variant {
  name: string;
  template: 'catalogue' | 'staged';
  rows: number;
  /** Does what must be there before the clock starts; what it returns is measured. */
  prepare(url: string, content: Content): Promise<() => Promise<Usage>>;
}

export interface Compared {
  variant: string;
  rows: number;
  /** Of a first write. */
  roundTrips: number;
  passes: Record<Pass, Measurement[]>;
}

/** The variants of the named parts; each part is measured against row by row. */
export function variantsOf(parts: string[], rows: number, answers: Answers): Variant[] {
  const few = Math.min(rows, ROW_BY_ROW_ROWS);
  const contents = [...new Set(PASSES.map((pass) => pass.content))];
  const batches = new Map(contents.map((content) => [content, batchesOf(rows, content)]));
  const firstBatches = new Map(contents.map((content) => [content, batchesOf(few, content)]));

  const rowByRow: Variant = {
    name: ROW_BY_ROW,
    template: 'catalogue',
    rows: few,
    prepare: async (url, content) => () => writeRowByRow(url, firstBatches.get(content)!),
  };
  const setBased: Variant[] = [
    {
      name: TYPED_FLOOR,
      template: 'staged',
      rows,
      prepare: async (url, content) => () => writeStaged(content)(url, batches.get(content)!),
    },
    ...[JSON_FLOOR, JSON_FLOOR_TWO].map(
      (name, index): Variant => ({
        name,
        template: 'staged',
        rows,
        prepare: async (url, content) => () => writeJson(index + 1)(url, batches.get(content)!),
      }),
    ),
    ...[LANE, LANE_TWO].map(
      (name, index): Variant => ({
        name,
        template: 'catalogue',
        rows,
        async prepare(url, content) {
          const answered = await claimAll(url, content);
          return () => finishCalls(url, answered, index + 1);
        },
      }),
    ),
    {
      name: BY_HAND,
      template: 'catalogue',
      rows,
      prepare: async (url, content) => () => applyByHand(url, batches.get(content)!),
    },
  ];
  const wholeRun: Variant = {
    name: RUN,
    template: 'catalogue',
    rows,
    // The scope that asks for every canonicalized row, however lately it was asked.
    prepare: async (url, content) => async () => {
      const before = cpuMsOf(answers.pid);
      const { usage, report } = await identitySyncRun(['--scope', 'refresh'], {
        DATABASE_URL: url,
        LIBRARY_METADATA_URL: answers.url(content),
      });
      if (report.scanned !== rows)
        throw new Error(`the run asked for ${report.scanned} rows, not for ${rows}`);
      return { ...usage, lmlCpuSeconds: (cpuMsOf(answers.pid) - before) / 1000 };
    },
  };
  return [
    rowByRow,
    ...(parts.includes('apply') ? setBased : []),
    ...(parts.includes('run') ? [wholeRun] : []),
  ];
}

/**
 * Measures the variants in interleaved rounds, each of which begins with another one. All of them must leave the same
 * rows behind after each pass, or the comparison is worth nothing and raises.
 */
export async function compare(
  server: Server,
  variants: Variant[],
  options: { rounds: number; say(words: string): void },
): Promise<Compared[]> {
  const { rounds, say } = options;
  const compared = variants.map(({ name, rows }) => ({
    variant: name,
    rows,
    roundTrips: 0,
    passes: Object.fromEntries(PASSES.map((pass) => [pass.name, [] as Measurement[]])) as Compared['passes'],
  }));
  const left = new Map<Pass, string>();

  for (const [index, variant] of variants.entries()) {
    say(`counting the round trips of ${variant.name}`);
    const database = await server.clone(variant.template);
    compared[index]!.roundTrips = await countRoundTrips(database.url, async (url) => {
      const write = await variant.prepare(url, 'original');
      return write();
    });
    await database.drop();
  }

  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < variants.length; turn++) {
      const index = (round + turn) % variants.length;
      const variant = variants[index]!;
      const database = await server.clone(variant.template);
      for (const pass of PASSES) {
        const measured = await database.measure(await variant.prepare(database.url, pass.content));
        compared[index]!.passes[pass.name].push(measured);
        const microseconds = ((measured.seconds * 1e6) / variant.rows).toFixed(1);
        say(`round ${round + 1}: ${variant.name}, ${pass.name}: ${microseconds} µs a verdict`);

        const rows = await fingerprint(database, Math.min(...variants.map((each) => each.rows)));
        if ((left.get(pass.name) ?? rows) !== rows) {
          throw new Error(`${variant.name} left other rows than the others after "${pass.name}"`);
        }
        left.set(pass.name, rows);
        await readAnew(database);
      }
      await database.drop();
    }
  }
  return compared;
}

/**
 * The first reader of a new row notes in its page that it is committed, which costs a whole page of WAL. Here this is the
 * first reader, for all ways alike, and not the next pass: in production autovacuum is.
 */
async function readAnew({ sql }: Database): Promise<void> {
  for (const table of [
    'wxyc_schema.library_identity_source',
    'identity_sync.attempt',
    'identity_sync.asked_as',
  ])
    await sql`select count(written.*) from ${sql(table)} as written`;
}

/** A hash of what the first libraries have now, times excepted. */
async function fingerprint({ sql }: Database, libraries: number): Promise<string> {
  const [row] = await sql<[{ hash: string }]>`
    select
      md5(string_agg(content, ' ' order by content)) as hash
    from (
      select (to_jsonb(known) - 'last_verified_at')::text
      from wxyc_schema.library_identity as known
      where library_id <= ${libraries}
      union all
      select (to_jsonb(known) - 'last_verified_at')::text
      from wxyc_schema.library_identity_source as known
      where library_id <= ${libraries}
      union all
      select library_id || ' ' || outcome
      from identity_sync.attempt
      where library_id <= ${libraries}
    ) as written (content)`;
  return row.hash;
}
