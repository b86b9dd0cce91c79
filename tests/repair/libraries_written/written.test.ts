// What a settlement wrote, by library: not what it confirmed, marked or refused.
import { expect, test } from 'vitest';
import {
  compilation,
  DILATE,
  ERASER,
  leg,
  NEW_AMERYKAH,
  SANGOMA,
  singleArtist,
  TUESDAY,
  unresolved,
  useWriter,
  VARIOUS,
} from '../../support/writer.js';

const writer = useWriter();

test('main rows inserted and changed, and source rows', async () => {
  await writer.service([singleArtist(DILATE), singleArtist(SANGOMA), singleArtist(NEW_AMERYKAH)]);
  const second = [
    singleArtist(DILATE, { confidence: 0.96 }),
    singleArtist(SANGOMA, { provenance: [leg('discogs', '76040')] }),
    singleArtist(NEW_AMERYKAH),
    singleArtist(ERASER),
    compilation(VARIOUS),
  ];
  await writer.service(second, { verifiedAt: TUESDAY });

  const rows = await writer.sql`
    select listed as id
    from identity_sync_private.libraries_written((select max(settlement_id) from identity_sync.settlement)) as listed`;
  const written = rows.map(({ id }) => id).sort((one, other) => one - other);
  expect(written).toEqual([DILATE, ERASER, SANGOMA]);
});

test('a settlement that only marked wrote none', async () => {
  await writer.service([unresolved(DILATE)]);
  const rows = await writer.sql`
    select from identity_sync.settlement
    cross join lateral identity_sync_private.libraries_written(settlement.settlement_id)`;
  expect(rows).toHaveLength(0);
});
