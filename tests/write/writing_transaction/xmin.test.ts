// Each row that a settlement wrote or confirmed carries a transaction that the settlement names.
import { expect, test } from 'vitest';
import {
  DILATE,
  ERASER,
  leg,
  MONDAY,
  SANGOMA,
  singleArtist,
  TUESDAY,
  unresolved,
  useWriter,
} from '../../support/writer.js';

const writer = useWriter();

async function unnamed() {
  const rows = await writer.sql`
    with own as (select unnest(written_by) as written_by from identity_sync.settlement)
    select library_id from wxyc_schema.library_identity where xmin not in (select written_by from own)
    union all
    select library_id from wxyc_schema.library_identity_source where xmin not in (select written_by from own)`;
  return rows.map(({ library_id }) => library_id);
}

async function transactions() {
  const rows = await writer.sql`
    select cardinality(written_by) as named from identity_sync.settlement order by settlement_id`;
  return rows.map(({ named }) => named);
}

test('rows inserted, changed and confirmed, also where the database refused a neighbour', async () => {
  await writer.sql.unsafe(`
    create function station.refuse() returns trigger language plpgsql as
    'begin if new.library_id = ${SANGOMA} then raise exception ''no''; end if; return new; end';
    create trigger refuse before insert on wxyc_schema.library_identity for each row execute function station.refuse();`);
  await writer.service([singleArtist(DILATE), singleArtist(SANGOMA), singleArtist(ERASER)]);
  await writer.service([singleArtist(DILATE, { confidence: 0.96 }), singleArtist(ERASER)], {
    verifiedAt: TUESDAY,
  });

  expect(await unnamed()).toEqual([]);
});

test('source rows alone, under an identity that was not touched', async () => {
  await writer.service([singleArtist(DILATE)], { verifiedAt: MONDAY });
  const provenance = [leg('discogs', '11442'), leg('bandcamp', 'anidifranco')];
  await writer.service([singleArtist(DILATE, { provenance })], { verifiedAt: MONDAY });

  expect(await unnamed()).toEqual([]);
  expect(await transactions()).toEqual([1, 1]);
});

test('where nothing was written there is none', async () => {
  await writer.service([unresolved(DILATE)]);
  expect(await transactions()).toEqual([0]);
});
