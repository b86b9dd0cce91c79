// The planner, with the rights of a worker: it plans runs of every kind, and prunes.
import type { Sql } from '../../src/database/connect.js';
import { GAUGES } from '../model/brake.js';
import { People } from './people.js';

const MOST_OPEN = 3;

export class Planner extends People {
  /** Plans a run of some kind, where few are open. */
  async plan(): Promise<void> {
    const { chance } = this;
    if (chance.is(0.05)) return this.prune();
    const scope = chance.weighed({ refresh: 4, due: 4, recheck: 1, ids: 2 });
    const size = chance.between(1, 12);
    await this.attempt(`plan ${scope}`, async (sql) => {
      const open = await sql`select from identity_sync.run where finished_at is null`;
      if (open.length >= MOST_OPEN) return;
      const isScheduled = chance.is(0.3);
      const held = await holdOfBrake(sql);
      const [planned] = await sql`
        select identity_sync.plan_identity_run(
          scope => ${scope}, ids => ${scope === 'ids' ? chance.some(this.allIds, 25) : null}::integer[],
          include_null_canonical => ${chance.is(0.3)}, batch_size => ${size}, va_batch_size => ${size},
          dry_run => ${chance.is(0.2)}, strict_bands => ${chance.is(0.1)}, lanes => 6,
          accept => ${chance.is(0.4) ? GAUGES : []}, deadline_minutes => ${chance.between(1, 3)},
          call_budget => ${chance.is(0.1) ? 10 : null}, scheduled => ${isScheduled}) as run`;
      if (!isScheduled || held === null || held !== (await holdOfBrake(sql))) return;
      if (planned!.run !== null)
        this.complaints.push(`run ${planned!.run} was planned though the brake holds`);
    });
  }

  /** Prunes as the daily job does, and notes what went. */
  private prune(): Promise<void> {
    return this.act({
      ...{ kind: 'prune', ids: [] },
      async work(tx) {
        const before = await about(tx);
        await tx`select identity_sync.prune_identity_sync(keep_days => 30)`;
        const after = await about(tx);
        // What others took away meanwhile is told of them as well, and goes but once.
        const gone = (what: keyof typeof before) => before[what].filter((id) => !after[what].includes(id));
        return {
          args: { marks: gone('marks'), questions: gone('questions'), entries: gone('entries') },
        };
      },
    });
  }
}

/** Since when the brake holds planning. */
async function holdOfBrake(sql: Sql): Promise<string | null> {
  const [hold] = await sql`select since::text from identity_sync.planning_hold where name = 'brake'`;
  return hold?.since ?? null;
}

/** Of which libraries there is something, on the shelf or not. */
async function about(tx: Sql): Promise<{ marks: number[]; questions: number[]; entries: number[] }> {
  const [row] = await tx`
    select
      array(select library_id from identity_sync.attempt) as marks,
      array(select library_id from identity_sync.asked_as) as questions,
      array(
        select library_id from identity_sync.quarantined_verdict where closed_at is null and library_id is not null
      ) as entries`;
  return row as { marks: number[]; questions: number[]; entries: number[] };
}
