// What the backend does to records as a whole: it merges two into one, and restores one that it had deleted.
import type { Sql } from '../../src/database/connect.js';
import { readShelved } from './shelf.js';

/** Puts a record that was deleted on the shelf again, under its id and without its identity. */
export async function restoreOne(tx: Sql) {
  const [gone] = await tx`
    delete from soak.gone
    where id = (select id from soak.gone order by random() limit 1 for update skip locked)
    returning id, record`;
  if (!gone) return null;
  await tx`
    insert into wxyc_schema.library
    select record.* from jsonb_populate_record(null::wxyc_schema.library, ${JSON.stringify(gone.record)}::jsonb) as record`;
  const [shelved] = await readShelved(tx, gone.id);
  return { ids: [gone.id], args: { shelved } };
}

/** Repoints what is the loser's to the survivor, where that has no identity, and deletes the loser. */
export async function mergeTwo(tx: Sql, loser: number, survivor: number, locks: boolean) {
  const both = locks
    ? await tx`select id from wxyc_schema.library where id in (${loser}, ${survivor}) order by id for update`
    : await tx`select id from wxyc_schema.library where id in (${loser}, ${survivor})`;
  if (both.length < 2) return null;
  const [known] = await tx`select from wxyc_schema.library_identity where library_id = ${survivor}`;
  const moved = { isIdentity: !known, sources: [] as string[] };
  if (!known) {
    await tx`
      update wxyc_schema.library_identity set library_id = ${survivor} where library_id = ${loser}`;
    const sources = await tx`
      update wxyc_schema.library_identity_source as source set library_id = ${survivor}
      where library_id = ${loser} and not exists (
        select from wxyc_schema.library_identity_source as other
        where other.library_id = ${survivor} and other.source = source.source)
      returning source.source`;
    moved.sources = sources.map(({ source }) => source);
  }
  await tx`
    update wxyc_schema.library_identity_history set library_id = ${survivor} where library_id = ${loser}`;
  await tx`delete from wxyc_schema.library_identity_source where library_id = ${loser}`;
  await tx`delete from wxyc_schema.library_identity where library_id = ${loser}`;
  await tx`delete from wxyc_schema.library where id = ${loser}`;
  return { args: { moved } };
}
