// What was really settled and done, in the order in which it was committed: from the books of the service, from what LML
// remembers to have said, and from the journal of those who acted by hand.
import type postgres from 'postgres';
import { resultsOf, textOf } from '../model/answers.js';
import { read } from '../model/json.js';
import type { Fields } from '../model/judge.js';
import type { Fleet } from './fleet.js';
import type { Post } from './lml.js';

interface Answered {
  started: number;
  answered: number;
  /** The process that made the call. */
  by: string;
}

/** One call of the writer for a batch. */
export interface Settled {
  settlement: number;
  run: number;
  committed: number;
  at: number;
  isStrict: boolean;
  isDry: boolean;
  scope: string;
  /** The gauges of the brake that do not stop its run. */
  accept: string[];
  batch: number;
  state: 'applied' | 'empty' | 'poisoned' | 'failed';
  ids: number[];
  report: Fields;
  /** What a dry run has kept. */
  kept: string | null;
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
      run.strict_bands as "isStrict", run.dry_run as "isDry", run.scope, run.accept, batch.state,
      batch.library_ids as ids, settlement.report, batch.answer as kept,
      (
        select coalesce(jsonb_agg(jsonb_build_object(
          'started', (extract(epoch from started_at) * 1000)::float8,
          'answered', (extract(epoch from answered_at) * 1000)::float8,
          'by', split_part(leased_by, ':', 2)) order by call_id), '[]')
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
  // A dry run may ask for what another run asks for at that moment: what it was told is known by the text.
  const previewed = new Set<Post>();
  for (const { isDry, kept, ids, calls } of rows) {
    if (!isDry || kept === null) continue;
    for (const call of calls) {
      const post = postDuring(ids, call, postsOf, ({ answer }) => textOf(answer) === kept);
      if (post) previewed.add(post);
    }
  }
  return rows.map((row) => {
    const isSaid = (post: Post) =>
      row.isDry && row.kept !== null ? textOf(post.answer) === row.kept : !previewed.has(post);
    const said = row.calls.map((call) => postDuring(row.ids, call, postsOf, isSaid));
    const post = said.at(-1) ?? null;
    // Of a batch that failed each call counts, also those whose answer was cut.
    const again = row.state === 'applied' && said.find((earlier) => earlier !== post && isRead(earlier));
    const askedAgain = again ? textOf(again.answer) : null;
    return { ...row, post, askedAgain };
  });
}

/** The batches that LML has answered to workers who gave the answers up, though they live. */
export async function readGivenUp(sql: postgres.Sql, posts: Post[], fleet: Fleet): Promise<string[]> {
  const calls = await sql<{ batch: string; by: string; ids: number[]; started: number }[]>`
    select
      batch_id as batch, lml_call.leased_by as by, library_ids as ids,
      (extract(epoch from started_at) * 1000)::float8 as started
    from identity_sync.lml_call join identity_sync.batch using (batch_id)
    where lml_call.answered_at is null`;
  const postsOf = byLibrary(posts);
  return calls
    .map((call) => ({ ...call, pid: call.by.split(':')[1]! }))
    .filter(({ pid, started }) => !fleet.isExcused(pid, started))
    .filter(({ ids, started, pid }) =>
      isRead(postDuring(ids, { started, answered: started + 1000, by: pid }, postsOf)),
    )
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

/** The last request of these libraries, and of as many as there are, that LML got during the call. */
function postDuring(
  ids: number[],
  call: Answered,
  postsOf: Map<number, Post[]>,
  isSaid: (post: Post) => boolean = () => true,
): Post | null {
  const posts = new Set(ids.flatMap((id) => postsOf.get(id) ?? []));
  const during = [...posts].filter(
    (post) =>
      post.by === call.by &&
      post.at >= call.started - 1 &&
      post.at <= call.answered + 1 &&
      [...post.questions.keys()].every((id) => ids.includes(id)) &&
      isSaid(post),
  );
  const size = ({ questions }: Post) => questions.size;
  return during.sort((one, other) => size(one) - size(other) || one.at - other.at).at(-1) ?? null;
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
    // What a command has done leaves no line in the journal.
    ...(await sql<Acted[]>`
      select
        0 as act, run.scope as kind, coalesce(run.ids, '{}') as ids,
        jsonb_build_object('of', run.of_run_id, 'only', run.ids) as args,
        case when run.scope = 'preview' then run.report end as result, run.run_id::integer as run,
        (extract(epoch from run.started_at) * 1000)::float8 as began,
        (extract(epoch from pg_xact_commit_timestamp(run.xmin)) * 1000)::float8 as committed,
        (
          select (extract(epoch from min(verified_at)) * 1000)::float8
          from identity_sync.settlement where settlement.run_id = run.run_id
        ) as at
      from identity_sync.run
      where run.scope in ('preview', 'undo') and run.batches_pruned_at is null
        and pg_xact_commit_timestamp(run.xmin) > to_timestamp(${after / 1000})
        and not exists (select from soak.act where act.xmin = run.xmin)`),
  ];
}
