// What was really settled and done, in the order in which it was committed: from the books of the service, from what LML
// remembers to have said, and from the journal of those who acted by hand.
import type postgres from 'postgres';
import { resultsOf, textOf } from '../model/answers.js';
import { read } from '../model/json.js';
import type { Fields } from '../model/judge.js';
import type { Post } from './lml.js';

interface Answered {
  started: number;
  answered: number;
}

/** One call of the writer for a batch. */
export interface Settled {
  settlement: number;
  run: number;
  committed: number;
  at: number;
  isStrict: boolean;
  isDry: boolean;
  batch: number;
  state: 'applied' | 'empty' | 'poisoned' | 'failed';
  ids: number[];
  report: Fields;
  /** When each of its calls that was answered began and ended. */
  calls: Answered[];
  /** What LML had answered before it was asked again, where it can be read. */
  askedAgain: string | null;
  /** What LML said, where it is an answer. */
  post: Post | null;
}

/** One act of a person. */
export interface Acted {
  act: number;
  kind: string;
  ids: number[];
  args: Fields;
  result: unknown;
  run: number | null;
  began: number;
  committed: number;
  /** When the writer was called for it. */
  at: number | null;
}

/** Reads what was committed after a moment; all times are in milliseconds. */
export async function readSettled(sql: postgres.Sql, after: number, posts: Post[]): Promise<Settled[]> {
  const rows = await sql<Settled[]>`
    select
      settlement_id::integer as settlement, settlement.run_id::integer as run, batch.batch_id::integer as batch,
      (extract(epoch from pg_xact_commit_timestamp(settlement.xmin)) * 1000)::float8 as committed,
      (extract(epoch from case when batch.state = 'poisoned' then batch.closed_at else settlement.verified_at end)
        * 1000)::float8 as at,
      run.strict_bands as "isStrict", run.dry_run as "isDry", batch.state, batch.library_ids as ids,
      settlement.report,
      (
        select coalesce(jsonb_agg(jsonb_build_object(
          'started', (extract(epoch from started_at) * 1000)::float8,
          'answered', (extract(epoch from answered_at) * 1000)::float8) order by call_id), '[]')
        from identity_sync.lml_call
        where lml_call.batch_id = batch.batch_id and answered_at is not null
          and (batch.state <> 'applied' or http_status = 200 and failure is null)
      ) as calls
    from identity_sync.settlement
    join identity_sync.batch on batch.batch_id = settlement.batch_id
    join identity_sync.run on run.run_id = batch.run_id
    where settlement.run_id = batch.run_id
      and pg_xact_commit_timestamp(settlement.xmin) > to_timestamp(${after / 1000})`;
  const postsOf = byLibrary(posts);
  return rows.map((row) => {
    const said = row.calls.map((call) => postDuring(row.ids, call, postsOf));
    const post = said.at(-1) ?? null;
    // Of a batch that failed each call counts, also those whose answer was cut.
    const again = row.state === 'applied' && said.find((earlier) => earlier !== post && isRead(earlier));
    const askedAgain = again ? textOf(again.answer) : null;
    return { ...row, post, askedAgain };
  });
}

/** The batches that LML has answered to workers who gave the answers up, though they live. */
export async function readGivenUp(sql: postgres.Sql, posts: Post[], excused: Set<string>): Promise<string[]> {
  const calls = await sql<{ batch: string; by: string; ids: number[]; started: number }[]>`
    select
      batch_id as batch, lml_call.leased_by as by, library_ids as ids,
      (extract(epoch from started_at) * 1000)::float8 as started
    from identity_sync.lml_call join identity_sync.batch using (batch_id)
    where lml_call.answered_at is null`;
  const postsOf = byLibrary(posts);
  return calls
    .filter(({ by }) => !excused.has(by.split(':')[1]!))
    .filter(({ ids, started }) => isRead(postDuring(ids, { started, answered: started + 1000 }, postsOf)))
    .map(({ batch, by }) => `${by} lives and gave up the answer for batch ${batch}`);
}

const isRead = (post: Post | null) =>
  post !== null && post.status === 200 && resultsOf(post.answer) !== undefined;

function byLibrary(posts: Post[]): Map<number, Post[]> {
  const postsOf = new Map<number, Post[]>();
  for (const post of posts)
    for (const id of post.questions.keys()) postsOf.set(id, [...(postsOf.get(id) ?? []), post]);
  return postsOf;
}

/** The last request of these libraries that LML got during the call. */
function postDuring(ids: number[], call: Answered, postsOf: Map<number, Post[]>): Post | null {
  const posts = ids.flatMap((id) => postsOf.get(id) ?? []);
  const during = posts.filter(
    ({ at, questions }) =>
      at >= call.started - 1 &&
      at <= call.answered + 1 &&
      [...questions.keys()].every((id) => ids.includes(id)),
  );
  return during.sort((one, other) => one.at - other.at).at(-1) ?? null;
}

/** Every library that a settlement reads or writes: also those that were not asked for. */
export function librariesOf({ ids, post, state }: Settled): number[] {
  const results = state === 'applied' && post ? (resultsOf(post.answer) ?? []) : [];
  // An id that no reader takes is a symbol, and names none.
  const named = results
    .map((result) => (read(result) as Fields | null)?.library_id)
    .map((id) => (typeof id === 'symbol' ? Number.NaN : Number(id)));
  return [...new Set([...ids, ...named.filter(Number.isInteger)])];
}

export async function readActs(sql: postgres.Sql, after: number): Promise<Acted[]> {
  return [
    ...(await sql<Acted[]>`
      select
        act_id::integer as act, kind, act.ids, args, result, run.run_id::integer as run,
        (extract(epoch from began) * 1000)::float8 as began,
        (extract(epoch from pg_xact_commit_timestamp(act.xmin)) * 1000)::float8 as committed,
        (
          select (extract(epoch from min(verified_at)) * 1000)::float8
          from identity_sync.settlement where settlement.run_id = run.run_id
        ) as at
      from soak.act
      -- What was called by hand is a run that its transaction wrote.
      left join identity_sync.run on run.xmin = act.xmin
      where pg_xact_commit_timestamp(act.xmin) > to_timestamp(${after / 1000})
      order by act_id`),
  ];
}
