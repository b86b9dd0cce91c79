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

  /** Prunes as the daily job does, and notes what went with libraries that are gone. */
  private prune(): Promise<void> {
    return this.act({
      ...{ kind: 'prune', ids: [] },
      async work(tx) {
        const before = await remains(tx);
        await tx`select identity_sync.prune_identity_sync(keep_days => 30)`;
        const after = await remains(tx);
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

/** What is there of libraries that are gone. */
async function remains(tx: Sql): Promise<{ marks: number[]; questions: number[]; entries: number[] }> {
  const [row] = await tx`
    with gone as (
      select library_id, 'marks' as what from identity_sync.attempt
      union all
      select library_id, 'questions' from identity_sync.asked_as
      union all
      select library_id, 'entries' from identity_sync.quarantined_verdict where closed_at is null
      except all
      select library.id, listed.what
      from wxyc_schema.library cross join unnest(array['marks', 'questions', 'entries']) as listed (what)
    )
    select
      coalesce(array_agg(library_id) filter (where what = 'marks'), '{}') as marks,
      coalesce(array_agg(library_id) filter (where what = 'questions'), '{}') as questions,
      coalesce(array_agg(library_id) filter (where what = 'entries'), '{}') as entries
    from gone
    where library_id is not null`;
  return row as { marks: number[]; questions: number[]; entries: number[] };
}
