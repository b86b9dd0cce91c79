// The brake is measured on rows that held an identity or were never asked before: a row that had an attempt and is
// unresolved again says nothing about LML.
import { expect, test } from 'vitest';
import {
  compilation,
  DILATE,
  ERASER,
  MONDAY,
  NEW_AMERYKAH,
  NOWHERE,
  reported,
  SANGOMA,
  SERVICE,
  singleArtist,
  TUESDAY,
  unresolved,
  useWriter,
  VARIOUS,
  withMain,
} from '../../support/writer.js';

const writer = useWriter();

async function lastSettlement() {
  const [settlement] = await writer.sql`
    select origin, verified_at, requested, unrequested, report, inserted_ids,
      unresolved_counted, unresolved_seen, refused_counted, refused_seen, changed_counted, changed_seen,
      array(select unnest(unresolved_ids) order by 1) as unresolved_ids, refused_ids, changed_ids
    from identity_sync.settlement
    left join identity_sync.brake_memory using (settlement_id)
    order by settlement_id desc
    limit 1`;
  return settlement!;
}

test('rows that had an attempt and no identity are left out of the sample', async () => {
  await writer.service([singleArtist(DILATE), unresolved(SANGOMA), unresolved(ERASER)], {
    verifiedAt: MONDAY,
  });

  await writer.service(
    [
      unresolved(DILATE),
      unresolved(SANGOMA),
      singleArtist(ERASER),
      unresolved(NEW_AMERYKAH),
      compilation(VARIOUS),
    ],
    { verifiedAt: TUESDAY },
  );

  expect(await lastSettlement()).toMatchObject({
    unresolved_counted: 3,
    unresolved_seen: 2,
    unresolved_ids: [VARIOUS, DILATE, NEW_AMERYKAH],
    inserted_ids: [ERASER],
  });
});

test('what is refused or gone is no part of it', async () => {
  await writer.service([singleArtist(DILATE, { kind: 'hunch' }), unresolved(NOWHERE)]);
  expect(await lastSettlement()).toMatchObject({
    unresolved_counted: 0,
    refused_counted: 1,
    refused_seen: 1,
    refused_ids: [DILATE],
  });
});

test('an identity of a row that was renamed is no part of the sample of changed ones', async () => {
  await writer.service([singleArtist(DILATE), singleArtist(SANGOMA)], { verifiedAt: MONDAY });
  await writer.sql`update wxyc_schema.library set artist_name = 'Ani' where id = ${DILATE}`;
  const others = [DILATE, SANGOMA].map((id) => withMain(singleArtist(id), { discogs_artist_id: 7 }));
  await writer.service(others, { verifiedAt: TUESDAY });

  expect(await lastSettlement()).toMatchObject({
    changed_counted: 1,
    changed_seen: 1,
    changed_ids: [SANGOMA],
  });
});

test('a call of the service is recorded with its report and the ids beyond those that were asked', async () => {
  const report = await writer.apply([singleArtist(DILATE), unresolved(SANGOMA)], {
    requested: [DILATE],
    origin: SERVICE,
    verifiedAt: MONDAY,
  });

  expect(report).toEqual(
    reported({
      rows_resolved: 1,
      rows_skipped: { lml_untrusted_library_id: 1 },
      identity: { inserted: 1 },
      source: { inserted: 2 },
    }),
  );
  expect(await lastSettlement()).toMatchObject({
    origin: SERVICE,
    verified_at: MONDAY,
    requested: 1,
    unrequested: 1,
    report,
  });
});

test('a repair counts every verdict as asked', async () => {
  await writer.repair([singleArtist(DILATE), unresolved(SANGOMA)]);
  expect(await lastSettlement()).toMatchObject({ requested: 2, unrequested: 0 });
});
