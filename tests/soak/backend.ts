// The station's backend, which edits the shelf by its own statements; and somebody with its login who keeps
// transactions open and cuts sessions.
import { setTimeout as sleep } from 'node:timers/promises';
import { People } from './people.js';
import { ARTIST_NAMES, readShelved, shelveOne } from './shelf.js';
import { mergeTwo, restoreOne } from './twins.js';

export class Backend extends People {
  private shelved = 1_000_000;

  /** What the backend does next. */
  async edit(): Promise<void> {
    const { chance } = this;
    const id = chance.of(this.allIds);
    const kind = chance.weighed({ rename: 6, delete: 1.5, restore: 1, merge: 1, add: 1.5, other: 3 });
    switch (kind) {
      case 'rename': {
        const artist = chance.is(0.04) ? null : chance.of(ARTIST_NAMES);
        const title = chance.is(0.5) ? 'Untitled' : `Album ${id}`;
        return this.act({
          ...{ kind, ids: [id], args: { artist, title } },
          work: async (tx) => {
            const [renamed] = await tx`
              update wxyc_schema.library set artist_name = ${artist}, album_title = ${title} where id = ${id}
              returning id`;
            return renamed ? {} : null;
          },
        });
      }
      case 'delete':
        return this.act({
          ...{ kind, ids: [id] },
          work: async (tx) => {
            await tx`delete from wxyc_schema.library_identity_source where library_id = ${id}`;
            await tx`delete from wxyc_schema.library_identity where library_id = ${id}`;
            await tx`
              with gone as (delete from wxyc_schema.library where id = ${id} returning *)
              insert into soak.gone (id, record) select id, to_jsonb(gone) from gone`;
            return {};
          },
        });
      case 'restore':
        return this.act({ kind, ids: [], work: restoreOne });
      case 'merge': {
        const [loser, survivor] = chance.some(this.allIds, 2) as [number, number];
        const locks = chance.is(0.5);
        return this.act({
          ...{ kind, ids: [loser, survivor] },
          work: (tx) => mergeTwo(tx, loser, survivor, locks),
        });
      }
      case 'add':
        return this.act({
          ...{ kind, ids: [] },
          work: async (tx) => {
            const added = await shelveOne(tx, this.shelved++, chance);
            const [shelved] = await readShelved(tx, added);
            this.allIds.push(added);
            return { ids: [added], args: { shelved } };
          },
        });
      case 'other': {
        const columns = chance.of([
          { method: 'manual', confidence: 1, notes: null },
          { discogs_release_id: 77 },
          { agreement_sources: 'discogs,spotify' },
        ]);
        return this.act({
          ...{ kind, ids: [id], args: { columns } },
          work: async (tx) => {
            const [changed] = await tx`
              update wxyc_schema.library_identity as known
              set
                method = coalesce(told.method, known.method),
                confidence = case when told.method is null then known.confidence else 1 end,
                notes = case when told.method is null then known.notes end,
                discogs_release_id = coalesce(told.discogs_release_id, known.discogs_release_id),
                agreement_sources = coalesce(told.agreement_sources, known.agreement_sources)
              from jsonb_to_record(${JSON.stringify(columns)}::text::jsonb)
                as told (method text, discogs_release_id integer, agreement_sources text)
              where known.library_id = ${id}
              returning known.library_id`;
            return changed ? {} : null;
          },
        });
      }
    }
  }

  /** Keeps a transaction open with locks on rows. */
  async holdRows(): Promise<void> {
    const { chance } = this;
    const ids = chance.some(this.allIds, chance.between(1, 5));
    const isIdentity = chance.is(0.5);
    await this.attempt('open transaction', async (sql) => {
      await sql`begin`;
      if (isIdentity)
        await sql`
            select from wxyc_schema.library_identity where library_id = any (${ids}) order by library_id for update`;
      else await sql`select from wxyc_schema.library where id = any (${ids}) order by id for update`;
      await sleep(chance.between(300, 6000));
    });
  }

  /** Cuts some session, of whichever login. */
  async cutSession(): Promise<void> {
    await this.attempt(
      'cut session',
      (sql) => sql`
        select pg_terminate_backend(pid) from (
          select pid from pg_stat_activity
          where datname = current_database() and backend_type = 'client backend' and usename like 'soak%'
            and pid <> pg_backend_pid()
          order by random() limit ${this.chance.of([1, 1, 3, 100])}
        ) as session`,
    );
  }
}
