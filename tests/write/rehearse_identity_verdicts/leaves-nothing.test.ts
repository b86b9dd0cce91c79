// A dry run reports what would be written, and leaves nothing behind.
import { expect, test } from 'vitest';
import {
  DILATE,
  ERASER,
  type Fields,
  MONDAY,
  NEW_AMERYKAH,
  type Report,
  SANGOMA,
  SERVICE,
  singleArtist,
  TUESDAY,
  useWriter,
  withMain,
} from '../../support/writer.js';

const writer = useWriter();

/** Applies verdicts as a dry run does: these ids were requested. */
async function dryRun(verdicts: Fields[]): Promise<Report> {
  const [row] = await writer.sql<[{ report: Report }]>`
    select identity_sync_private.rehearse_identity_verdicts(
      response => ${JSON.stringify({ results: verdicts })}::text::jsonb,
      requested => ${verdicts.map((verdict) => verdict.library_id as number)},
      origin => ${SERVICE},
      verified_at => ${TUESDAY}
    ) as report`;
  return row.report;
}

/** Everything that applying writes, its own books included. */
const books = async () => ({
  rows: await writer.everything(),
  attempts: await writer.attempts(),
  quarantine: await writer.quarantine(),
  settlements: [...(await writer.sql`select * from identity_sync.settlement order by settlement_id`)],
});

test('its report is the one that applying gives afterwards, and until then nothing is written', async () => {
  await writer.service([singleArtist(DILATE)], { verifiedAt: MONDAY });
  // This constraint speaks at the commit only, which a dry run never reaches.
  await writer.sql.unsafe(`
    create function station.object() returns trigger language plpgsql as $$
    begin
      if new.library_id = ${SANGOMA} then raise 'the station objects'; end if;
      return new;
    end $$;
    create constraint trigger object after insert on wxyc_schema.library_identity
    deferrable initially deferred for each row execute function station.object();`);
  const verdicts = [
    withMain(singleArtist(DILATE), { discogs_artist_id: 5 }),
    singleArtist(SANGOMA),
    singleArtist(ERASER),
    singleArtist(NEW_AMERYKAH, { kind: 'artist' }),
  ];
  const before = await books();

  const foreseen = await dryRun(verdicts);

  expect(await books()).toEqual(before);
  expect(foreseen).toMatchObject({
    rows_resolved: 2,
    rows_skipped: { writer_error: 1, invalid_verdict: 1 },
    identity: { inserted: 1, changed: 1 },
  });
  expect(await writer.service(verdicts, { verifiedAt: TUESDAY })).toEqual(foreseen);
});

test('what is no verdict’s fault is raised, as applying raises it', async () => {
  await writer.sql.unsafe(`
    create function station.object() returns trigger language plpgsql as
    'begin raise ''not now'' using errcode = ''40P01''; end';
    create trigger object before insert on wxyc_schema.library_identity
    for each row execute function station.object();`);
  const before = await books();

  await expect(dryRun([singleArtist(DILATE)])).rejects.toMatchObject({ code: '40P01' });

  expect(await books()).toEqual(before);
});
