// The halves of a bisected batch are reported as one.
import { expect, test } from 'vitest';
import { shelveRows } from '../../support/catalogue.js';
import { reported, singleArtist, TUESDAY, useWriter, WEDNESDAY, withMain } from '../../support/writer.js';

const writer = useWriter();

test('what becomes of the others is reported on both sides of a culprit', async () => {
  const [HELD, NEWER, CHANGED, CULPRIT] = [1, 2, 3, 4] as const;
  const others = [HELD, NEWER, CHANGED].flatMap((id) => [id, id + 4]);
  await shelveRows(
    writer.sql,
    [...others, CULPRIT].map((id) => ({ id })),
  );
  await writer.repair([singleArtist(HELD), singleArtist(HELD + 4)]);
  await writer.service([singleArtist(NEWER), singleArtist(NEWER + 4)], {
    verifiedAt: WEDNESDAY,
  });
  await writer.service([singleArtist(CHANGED), singleArtist(CHANGED + 4)]);
  await writer.sql.unsafe(`
    create function station.approves(id integer) returns boolean language sql return id <> ${CULPRIT};
    alter table wxyc_schema.library_identity add check (station.approves(library_id)) not valid;`);
  const verdicts = [...others, CULPRIT].map((id) => withMain(singleArtist(id), { wikidata_qid: 'Q1' }));

  const report = await writer.service(verdicts, { verifiedAt: TUESDAY });

  expect(report).toEqual(
    reported({
      rows_resolved: 2,
      rows_skipped: { manual_precedence: 2, stale_verdict: 2, writer_error: 1 },
      identity: { changed: 2 },
      source: { unchanged: 4 },
    }),
  );
  const [settlement] = await writer.sql`
    select history_ids = array(select history_id from wxyc_schema.library_identity_history order by history_id) as kept
    from identity_sync.settlement order by settlement_id desc limit 1`;
  expect(settlement).toEqual({ kept: true });
});
