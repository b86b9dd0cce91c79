// An entry that nothing can cure is closed by an operator, with the reason; the mark that it left goes with it.
import { expect, test } from 'vitest';
import { call, candidates } from '../../support/catalogue.js';
import {
  DILATE,
  ERASER,
  SANGOMA,
  singleArtist,
  toText,
  untilBlocked,
  useWriter,
} from '../../support/writer.js';

const writer = useWriter();

const open = async () => [
  ...(await writer.sql`select quarantine_id, library_id, outcome from identity_sync.quarantine order by 1`),
];
const dismiss = (quarantine_id: unknown, reason: string | null = 'nobody can cure it') =>
  call(writer.sql, 'dismiss_quarantined_verdict', { quarantine_id, reason });

test.each([
  ['without a library', [singleArtist(DILATE, { library_id: null })], [DILATE]],
  ['that was not asked', [singleArtist(ERASER)], [DILATE]],
  ['of no library at all', [singleArtist(999_999_999)], [DILATE]],
])('an entry %s is closed, and says by whom and why', async (_, verdicts, requested) => {
  await writer.service(verdicts, { requested });
  const [entry] = await open();

  await dismiss(entry!.quarantine_id);

  expect(await open()).toEqual([]);
  const [closed] = await writer.sql`select closed_at, closed_reason from identity_sync.quarantined_verdict`;
  expect(closed).toMatchObject({
    closed_at: expect.any(Date),
    closed_reason: expect.stringMatching(/^dismissed by \S+: nobody can cure it$/),
  });
  await expect(dismiss(entry!.quarantine_id)).rejects.toMatchObject({ code: 'LS002' });
});

test('the mark that it left goes, so that the row is due again, and no other mark', async () => {
  await writer.service([singleArtist(DILATE, { kind: 'x' }), singleArtist(SANGOMA, { kind: 'x' })]);
  const before = await candidates(writer.sql, { include_null_canonical: true });
  const [entry] = (await open()).filter(({ library_id }) => library_id === DILATE);

  await dismiss(entry!.quarantine_id);

  expect(await writer.attempts()).toMatchObject([{ library_id: SANGOMA }]);
  const after = await candidates(writer.sql, { include_null_canonical: true });
  expect(after.filter((id) => !before.includes(id))).toEqual([DILATE]);
});

test('a mark of a later release stays', async () => {
  await writer.service([singleArtist(DILATE, { kind: 'x' })]);
  const [entry] = await open();
  await call(writer.sql, 'release_identity', { library_id: DILATE, reason: 'anew' });
  await dismiss(entry!.quarantine_id);
  expect(await writer.attempts()).toMatchObject([{ library_id: DILATE, outcome: 'released' }]);
});

test('waits for a writer of the library and is waited for, and neither is a victim of the other', async () => {
  await writer.service([singleArtist(DILATE, { kind: 'x' })]);
  const [entry] = await open();
  const [reader, dismissing, writing] = [
    await writer.session(),
    await writer.session(),
    await writer.session(),
  ];
  await reader.sql`begin`;
  await reader.sql`select from identity_sync.quarantined_verdict for update`;
  const dismissed = dismissing.sql`
    select identity_sync.dismiss_quarantined_verdict(${entry!.quarantine_id}, 'a typing mistake')`.execute();
  await untilBlocked(writer.sql, dismissing);
  // A success lifts the mark first, and closes the entry then.
  const applied = writing.sql`
    select identity_sync.apply_identity_verdicts(${toText([singleArtist(DILATE)])}::text::jsonb) as report`.execute();
  await untilBlocked(writer.sql, writing);
  await reader.sql`commit`;

  await dismissed;
  expect((await applied)[0]!.report).toMatchObject({ rows_resolved: 1 });
  expect([await open(), await writer.attempts()]).toEqual([[], []]);
});

test.each([null, '', '  '])('a reason is asked for: %j', async (reason) => {
  await writer.service([singleArtist(DILATE, { kind: 'x' })]);
  const [entry] = await open();
  await expect(dismiss(entry!.quarantine_id, reason)).rejects.toMatchObject({ code: 'LS001' });
  expect(await open()).toHaveLength(1);
});

test.each([null, 4711])('an entry that is not open is none: %j', async (id) => {
  await expect(dismiss(id)).rejects.toMatchObject({ code: 'LS002' });
});
