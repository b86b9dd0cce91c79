// The operator: repairs, releases, holds, replays and undoes by the product's functions.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sql } from '../../src/database/connect.js';
import { REFUSED_DISCOGS_ID } from '../model/model.js';
import { singleArtist, unresolved } from '../support/verdicts.js';
import { People } from './people.js';

const REFUSED = {
  main: { discogs_artist_id: REFUSED_DISCOGS_ID },
};

export class Operator extends People {
  /** What an operator does next. */
  async operate(): Promise<void> {
    const { allIds, chance } = this;
    const id = chance.of(allIds);
    const kind = chance.weighed({
      ...{
        repair: 2,
        release: 14,
        hold: 1,
        dismiss: 2,
        replay: 3,
        undo: 2,
        preview: 2,
        rehearse: 2,
        stop: 0.5,
      },
    });
    switch (kind) {
      case 'repair': {
        const ids = chance.some(allIds, chance.between(1, 2));
        const results = ids.map((library) =>
          chance.is(0.2) ? unresolved(library) : singleArtist(library, chance.is(0.1) ? REFUSED : {}),
        );
        return this.act({
          ...{ kind, ids, args: { results } },
          work: async (tx) => {
            const [row] = await tx`
              select identity_sync.apply_identity_response(${JSON.stringify({ results })}, ${ids}) as result`;
            return { result: row!.result };
          },
        });
      }
      case 'release':
      case 'hold':
        return this.act({
          ...{ kind, ids: [id] },
          work: async (tx) => {
            const [row] =
              kind === 'hold'
                ? await tx`select identity_sync.hold_identity(${id}, 'the soak') as result`
                : await tx`select identity_sync.release_identity(${id}, 'the soak') as result`;
            return { result: row!.result };
          },
        });
      case 'dismiss':
        return this.act({
          ...{ kind, ids: [] },
          async work(tx) {
            const [entry] = await tx`
              select quarantine_id, library_id from identity_sync.quarantined_verdict
              where closed_at is null and library_id is not null order by random() limit 1`;
            if (!entry) return null;
            await tx`select identity_sync.dismiss_quarantined_verdict(${entry.quarantine_id}, 'the soak')`;
            return { ids: [entry.library_id] };
          },
        });
      case 'replay':
        return this.act({
          ...{ kind, ids: [] },
          async work(tx) {
            const open = await tx<{ library_id: number }[]>`
              select library_id from identity_sync.quarantined_verdict
              where closed_at is null and library_id is not null order by random() limit 5`;
            const ids = open.map((entry) => entry.library_id);
            const [row] = await tx`select identity_sync.replay_quarantined_verdicts(ids => ${ids}) as result`;
            // What another session closes while this one waits for it is not replayed.
            const replayed = await tx<{ id: number }[]>`
              select library_id as id from identity_sync.quarantined_verdict
              where closed_reason = 'replayed' and xmin = pg_current_xact_id()::xid`;
            const released = await tx<{ id: number; at: number }[]>`
              select library_id as id, (extract(epoch from attempted_at) * 1000)::float8 as at
              from identity_sync.attempt
              where library_id = any (${ids}) and outcome = 'released' and xmin = pg_current_xact_id()::xid`;
            const done = [...replayed, ...released].map(({ id }) => id);
            return { ids: done, result: row!.result, args: { released: [...released] } };
          },
        });
      case 'undo':
        return this.act({
          ...{ kind, ids: [] },
          async work(tx) {
            const [run] = await tx`
              select run_id from (
                select run_id from identity_sync.run where finished_at is not null and not dry_run
                order by run_id desc limit 12
              ) as late order by random() limit 1`;
            if (!run) return null;
            const ids = chance.is(0.5) ? chance.some(allIds, 60) : null;
            const [row] =
              await tx`select identity_sync.undo_identity_run(${run.run_id}, ${ids}::integer[]) as result`;
            return { result: row!.result, args: { of: Number(run.run_id), only: ids } };
          },
        });
      case 'preview':
        return this.act({
          ...{ kind, ids: [] },
          async work(tx) {
            const [run] = await tx`
              select run_id from identity_sync.run
              where dry_run and finished_at > clock_timestamp() - interval '1 minute' order by random() limit 1`;
            if (!run) return null;
            const [row] = await tx`select identity_sync.apply_identity_preview(${run.run_id}) as result`;
            return { result: row!.result, args: { of: Number(run.run_id) } };
          },
        });
      case 'rehearse':
        return this.attempt(kind, (sql) => this.rehearse(sql));
      case 'stop':
        return this.attempt(
          kind,
          (sql) => sql`
            select identity_sync.stop_identity_run(run_id, 'the soak')
            from identity_sync.run where finished_at is null limit 1`,
        );
    }
  }

  /** Tries this and that in a transaction, looks at it for a while, and rolls it back. */
  private async rehearse(sql: Sql): Promise<void> {
    const { chance } = this;
    await sql`begin`;
    const [run] = await sql`
      select run_id from identity_sync.run where finished_at is not null and not dry_run
      order by run_id desc limit 1 offset ${chance.between(0, 10)}`;
    if (run) await sql`select identity_sync.undo_identity_run(${run.run_id})`;
    const ids = chance.some(this.allIds, 3);
    const results = ids.map((id) => singleArtist(id));
    await sql`select identity_sync.apply_identity_response(${JSON.stringify({ results })}, ${ids})`;
    await sql`select identity_sync.replay_quarantined_verdicts(ids => ${ids})`;
    await sleep(chance.of([0, 200, 2000]));
    await sql`rollback`;
  }
}
