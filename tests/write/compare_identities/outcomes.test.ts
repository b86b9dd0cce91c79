// What the writer decides of each verdict before it writes any: every verdict comes back once, with its outcome.
import { beforeEach, describe, expect, test } from 'vitest';
import {
  DILATE,
  ERASER,
  type Fields,
  MONDAY,
  NEW_AMERYKAH,
  REPAIR,
  SANGOMA,
  singleArtist,
  TUESDAY,
  toText,
  useWriter,
  withMain,
} from '../../support/writer.js';

const writer = useWriter();

const verdicts = [
  withMain(singleArtist(DILATE), { discogs_artist_id: 5 }),
  singleArtist(SANGOMA),
  singleArtist(ERASER),
  singleArtist(NEW_AMERYKAH),
];

async function compare(named: Fields[], verifiedAt: Date, isRepair = false) {
  const rows = await writer.sql`
    select
      compared.library_id, compared.outcome, compared.action,
      compared.version = known.ctid as is_version_of_row
    from unnest(
      identity_sync_private.compare_identities(
        identity_sync_private.judge_identity_verdicts(${toText(named)}::text::jsonb, null, false, null),
        ${verifiedAt}, ${isRepair}
      )
    ) with ordinality as compared
    left join wxyc_schema.library_identity as known on known.library_id = compared.library_id
    order by compared.ordinal`;
  return rows.map(({ library_id, outcome, action, is_version_of_row }) => [
    library_id,
    outcome,
    action,
    is_version_of_row,
  ]);
}

test('where no identity is there, all are new', async () => {
  expect(await compare(verdicts, MONDAY)).toEqual(
    verdicts.map(({ library_id }) => [library_id, 'resolved', 'inserted', null]),
  );
});

describe('beside identities that are there', () => {
  beforeEach(async () => {
    await writer.service([singleArtist(DILATE), singleArtist(SANGOMA)]);
    await writer.repair([singleArtist(ERASER)], { origin: REPAIR });
  });

  test('one verdict changes, one says the same, one is held by a hand, one is new', async () => {
    expect(await compare(verdicts, TUESDAY)).toEqual([
      [DILATE, 'resolved', 'changed', true],
      [SANGOMA, 'resolved', 'unchanged', true],
      [ERASER, 'manual_precedence', null, null],
      [NEW_AMERYKAH, 'resolved', 'inserted', null],
    ]);
  });

  test('a row of the same age that says the same has no version, and so is not written', async () => {
    expect(await compare([singleArtist(SANGOMA)], MONDAY)).toEqual([
      [SANGOMA, 'resolved', 'unchanged', null],
    ]);
  });

  test('an older verdict is stale where the service brings it, and counts where a repair does', async () => {
    const sunday = new Date(MONDAY.getTime() - 86_400_000);
    expect(await compare([verdicts[0]!, verdicts[2]!], sunday)).toEqual([
      [DILATE, 'stale_verdict', null, null],
      [ERASER, 'manual_precedence', null, null],
    ]);
    expect(await compare([verdicts[0]!, verdicts[2]!], sunday, true)).toEqual([
      [DILATE, 'resolved', 'changed', true],
      [ERASER, 'resolved', 'unchanged', null],
    ]);
  });
});
