// Which refusals are no verdict's: of a class that rows do not cause, and met by verdicts from all parts of a batch.
import { beforeEach, expect, test } from 'vitest';
import { shelveRows } from '../../support/catalogue.js';
import { track, visited } from '../../support/tracks.js';
import { SERVICE, singleArtist, useWriter } from '../../support/writer.js';

const writer = useWriter();
const IDS = Array.from({ length: 30 }, (_, index) => index + 101);

beforeEach(() =>
  shelveRows(
    writer.sql,
    IDS.map((id) => ({ id })),
  ),
);

/** Whether these libraries share a refusal, where a trigger raises it for the culprits. */
async function isShared(
  ids: number[],
  sqlstate: string,
  culprits: number[],
  message = 'no',
): Promise<boolean> {
  await writer.sql.unsafe(`
    create function station.object() returns trigger language plpgsql as $$
    begin
      if new.library_id in (${culprits}) then raise using errcode = '${sqlstate}', message = 'no'; end if;
      return new;
    end $$;
    create trigger object before insert on wxyc_schema.library_identity
    for each row execute function station.object();`);
  const [row] = await writer.sql`
    select identity_sync_private.is_shared_refusal(
      identity_sync_private.judge_identity_verdicts(${JSON.stringify(ids.map((id) => singleArtist(id)))}::text::jsonb, null, false, null),
      null, ${SERVICE}, now(), 1,
      row(${sqlstate}::text, ${message}::text, null)::identity_sync_private.writer_refusal
    ) as shared`;
  expect(await writer.sql`select from wxyc_schema.library_identity`).toHaveLength(0);
  return row!.shared;
}

test.each([
  ['all of them', IDS, '42P01', IDS, true],
  ['the only one', [101], '42P01', IDS, true],
  ['the only one, by a limit of the program', [101], '54000', IDS, false],
  ['all of them, by a limit of the program', IDS, '54000', IDS, true],
  ['all of them, by a constraint', IDS, '23514', IDS, false],
  ['all but the first', IDS, '42P01', IDS.slice(1), false],
  ['every second one', IDS, '42P01', IDS.filter((id) => id % 2 === 0), false],
  ['the first half', IDS, '42P01', IDS.slice(0, 15), false],
])('a refusal that meets %s', async (_, ids, sqlstate, culprits, shared) => {
  expect(await isShared(ids, sqlstate, culprits)).toBe(shared);
});

test('is not shared where its words differ', async () => {
  expect(await isShared(IDS, '42P01', IDS, 'another reason')).toBe(false);
});

test.each([
  ['all of them', IDS, true],
  ['every second one', IDS.filter((id) => id % 2 === 0), false],
])('a refusal of track links that meets %s', async (_, culprits, shared) => {
  await writer.sql`
    insert into wxyc_schema.compilation_track_artist (library_id, artist_name, track_title)
    select id, 'Sessa', 'Dez total' from unnest(${IDS}::integer[]) as id`;
  await writer.sql.unsafe(`
    create function station.object() returns trigger language plpgsql as $$
    begin
      if new.library_id in (${culprits}) then raise using errcode = '42P01', message = 'no'; end if;
      return new;
    end $$;
    create trigger object before update on wxyc_schema.compilation_track_artist
    for each row execute function station.object();`);
  const results = JSON.stringify(IDS.map((id) => visited(id, [track('Sessa', 'Dez total')])));
  const [row] = await writer.sql`
    select identity_sync_private.is_shared_refusal(
      identity_sync_private.judge_identity_verdicts(${results}::text::jsonb, null, false, '1'),
      ${results}::text::jsonb, ${SERVICE}, now(), 1,
      row('42P01', 'no', null)::identity_sync_private.writer_refusal
    ) as shared`;
  expect(row).toEqual({ shared });
});
