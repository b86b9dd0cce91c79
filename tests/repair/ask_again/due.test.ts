// What was taken back is due, also where a fresh identity or the lack of a canonical entity would keep it from being so.
import { expect, test } from 'vitest';
import { candidates } from '../../support/catalogue.js';
import { lastRun, undo } from '../../support/undo.js';
import { DILATE, ERASER, SANGOMA, singleArtist, unresolved, useWriter } from '../../support/writer.js';

const writer = useWriter();

test('libraries with a fresh identity, without a canonical entity, or with a mark alone', async () => {
  const lately = new Date(Date.now() - 60_000);
  await writer.service([singleArtist(DILATE), singleArtist(SANGOMA)], { verifiedAt: lately });
  const verdicts = [singleArtist(DILATE, { confidence: 0.96 }), singleArtist(ERASER), unresolved(SANGOMA)];
  await writer.service(verdicts, { verifiedAt: new Date() });
  expect(await candidates(writer.sql)).toEqual([]);

  await undo(writer.sql, await lastRun(writer.sql));
  expect(await candidates(writer.sql)).toEqual([SANGOMA, ERASER, DILATE].sort((one, other) => one - other));

  await writer.service(verdicts, { verifiedAt: new Date() });
  expect(await candidates(writer.sql)).toEqual([]);
});

test('a library whose identity was taken back, though the mark of another answer is still young', async () => {
  await writer.sql`update wxyc_schema.library set canonical_entity_id = 'artist:1' where id = ${DILATE}`;
  const daysAgo = (days: number) => new Date(Date.now() - days * 86_400_000);
  await writer.service([unresolved(DILATE)], { verifiedAt: daysAgo(8) });
  // An older answer, which came late: the mark of the newer one stays.
  await writer.service([singleArtist(DILATE)], { verifiedAt: daysAgo(9) });
  const run = await lastRun(writer.sql);

  await undo(writer.sql, run);
  expect(await writer.identity(DILATE)).toBeUndefined();
  expect(await candidates(writer.sql)).toContain(DILATE);
});
