import { describe, expect, test } from 'vitest';
import { shelveRows } from '../../support/catalogue.js';
import {
  compilation,
  DILATE,
  ERASER,
  type Fields,
  leg,
  MONDAY,
  NEW_AMERYKAH,
  NOWHERE,
  REPAIR,
  reported,
  SANGOMA,
  SERVICE,
  singleArtist,
  TUESDAY,
  unresolved,
  useWriter,
  VARIOUS,
  WEDNESDAY,
  withMain,
} from '../../support/writer.js';

const writer = useWriter();

const [HELD, NEWER, FORBIDDEN, SILENT, FOREIGN] = [1, 2, 3, 4, 5] as const;

test('an answer in which everything happens has a report in which everything is counted', async () => {
  const { sql } = writer;
  await shelveRows(
    sql,
    [HELD, NEWER, FORBIDDEN, SILENT, FOREIGN].map((id) => ({ id })),
  );
  await sql.unsafe(`
    create function station.approves(id integer) returns boolean language sql return id <> ${FORBIDDEN};
    alter table wxyc_schema.library_identity add check (station.approves(library_id));`);
  await writer.service([singleArtist(DILATE), singleArtist(SANGOMA)]);
  await writer.service([singleArtist(NEWER)], { verifiedAt: WEDNESDAY });
  await writer.repair([singleArtist(HELD)]);
  const nothingFound = leg('wikidata', null, { confidence: null });
  const verdicts = [
    // Inserted, with two sources of four: one found nothing, one is named twice, one is out of its band.
    singleArtist(ERASER, {
      provenance: [
        leg('discogs', '4854', { confidence: 0.5 }),
        leg('spotify', 'a'),
        leg('spotify', 'b'),
        nothingFound,
      ],
    }),
    // Changed, in one source, and one is removed.
    { ...withMain(singleArtist(DILATE), { discogs_artist_id: 5 }), provenance: [leg('discogs', '5')] },
    singleArtist(SANGOMA),
    unresolved(NEW_AMERYKAH),
    compilation(VARIOUS),
    singleArtist(HELD),
    singleArtist(NEWER),
    singleArtist(FORBIDDEN),
    singleArtist(NOWHERE),
    singleArtist(FOREIGN),
    singleArtist(DILATE),
    { ...singleArtist(ERASER), library_id: null },
  ];
  const requested = [ERASER, DILATE, SANGOMA, NEW_AMERYKAH, VARIOUS, HELD, NEWER, FORBIDDEN, NOWHERE, SILENT];

  const report = await writer.service(verdicts, { requested, verifiedAt: TUESDAY });

  expect(report).toEqual(
    reported({
      rows_resolved: 3,
      rows_unresolved: 1,
      rows_skipped: {
        compilation: 1,
        writer_error: 1,
        lml_cardinality_mismatch: 1,
        lml_untrusted_library_id: 2,
        invalid_verdict: 1,
        manual_precedence: 1,
        stale_verdict: 1,
        library_gone: 1,
      },
      source_rows_skipped_null_confidence: 1,
      source_rows_skipped_duplicate: 1,
      source_rows_out_of_band: 1,
      identity: { inserted: 1, changed: 1, unchanged: 1 },
      source: { inserted: 2, changed: 1, unchanged: 2, removed: 1 },
    }),
  );
  expect(report.scanned).toBe(requested.length + 3);
});

describe('what is left out of a verdict', () => {
  const provenance = [
    leg('discogs', '1', { confidence: 0.5 }),
    leg('discogs', '2', { confidence: 0.4 }),
    leg('spotify', null, { confidence: null }),
  ];
  const left_out = singleArtist(DILATE, { provenance });

  test.each<[string, Fields, () => Promise<unknown>]>([
    ['held', left_out, () => writer.repair([singleArtist(DILATE)])],
    ['stale', left_out, () => writer.service([singleArtist(DILATE)], { verifiedAt: TUESDAY })],
    ['invalid', { ...left_out, confidence: 2 }, async () => {}],
    ['unresolved', unresolved(DILATE, { provenance }), async () => {}],
    ['not asked for', { ...left_out, library_id: ERASER }, async () => {}],
  ])('does not count where nothing of it is written: %s', async (_, verdict, prepare) => {
    await prepare();
    expect(await writer.service([verdict], { requested: [DILATE] })).toMatchObject({
      rows_resolved: 0,
      source_rows_skipped_null_confidence: 0,
      source_rows_skipped_duplicate: 0,
      source_rows_out_of_band: 0,
      source: { inserted: 0, changed: 0, unchanged: 0, removed: 0 },
    });
  });

  test('counts again where it is the same as before', async () => {
    const counted = {
      source_rows_skipped_null_confidence: 1,
      source_rows_skipped_duplicate: 1,
      source_rows_out_of_band: 1,
    };
    expect(await writer.service([left_out])).toMatchObject({ ...counted, identity: { inserted: 1 } });
    expect(await writer.service([left_out])).toMatchObject({ ...counted, identity: { unchanged: 1 } });
  });
});

describe('a settlement', () => {
  /** What is recorded of the last call. */
  async function recorded() {
    const [row] =
      await writer.sql`select * from identity_sync.settlement order by settlement_id desc limit 1`;
    return row!;
  }

  test('records what was requested, what came, what was written and what was reported', async () => {
    await writer.service([singleArtist(SANGOMA)]);
    const verdicts = [
      withMain(singleArtist(SANGOMA), { wikidata_qid: 'Q146256' }),
      singleArtist(DILATE),
      singleArtist(ERASER),
    ];

    const report = await writer.service(verdicts, {
      requested: [DILATE, SANGOMA, VARIOUS],
      verifiedAt: TUESDAY,
    });

    const [history] = await writer.sql`select history_id from wxyc_schema.library_identity_history`;
    expect(await recorded()).toMatchObject({
      run_id: expect.any(String),
      dry_run: false,
      origin: SERVICE,
      verified_at: TUESDAY,
      requested: 3,
      unrequested: 1,
      report,
      inserted_ids: [DILATE],
      history_ids: [history!.history_id],
    });
  });

  test('of a repair has requested all that came', async () => {
    const report = await writer.repair([singleArtist(DILATE), unresolved(ERASER)]);
    expect(await recorded()).toMatchObject({
      origin: REPAIR,
      verified_at: MONDAY,
      requested: 2,
      unrequested: 0,
      report,
    });
  });

  test('is recorded where nothing came of it', async () => {
    await writer.apply(null, { requested: [DILATE], origin: SERVICE });
    expect(await recorded()).toMatchObject({
      requested: 1,
      unrequested: 0,
      report: reported({ rows_skipped: { lml_error: 1 } }),
      inserted_ids: [],
      history_ids: [],
    });
  });

  const three = reported({
    rows_resolved: 1,
    rows_unresolved: 1,
    rows_skipped: { invalid_verdict: 1 },
    identity: { changed: 1 },
  });

  /** Records a settlement of two requested ids and one unrequested result. */
  function record(report: unknown) {
    const { sql } = writer;
    return sql`
      insert into identity_sync.settlement (origin, verified_at, requested, unrequested, report)
      values (${SERVICE}, ${MONDAY}, 2, 1, ${JSON.stringify(report)}::text::jsonb)`;
  }

  test('whose report adds up can be recorded', async () => {
    await record(three);
    expect(await recorded()).toMatchObject({ report: three });
  });

  test.each<[string, object]>([
    ['scans one too many', { scanned: 4 }],
    ['scans one too few', { scanned: 2 }],
    ['resolves one too many', { rows_resolved: 2 }],
    [
      'resolves one too many, and says how',
      { rows_resolved: 2, identity: { ...three.identity, inserted: 1 } },
    ],
    ['resolves a compilation too many', { rows_resolved_compilation: 1 }],
    ['has one too many unresolved', { rows_unresolved: 2 }],
    ['writes more than it resolves', { identity: { ...three.identity, inserted: 1 } }],
    ['writes less than it resolves', { identity: { ...three.identity, changed: 0 } }],
    ...Object.entries(three.rows_skipped).map(([reason, rows]): [string, object] => [
      `skips one too many for ${reason}`,
      { rows_skipped: { ...three.rows_skipped, [reason]: rows + 1 } },
    ]),
  ])('whose report %s cannot be recorded', async (_, wrong) => {
    await expect(record({ ...three, ...wrong })).rejects.toMatchObject({
      code: '23514',
      constraint_name: 'settlement_report_adds_up',
    });
  });

  test('whose report is right for other ids cannot be recorded', async () => {
    await expect(record(reported({}))).rejects.toMatchObject({
      constraint_name: 'settlement_report_adds_up',
    });
  });

  test.each([[{}], [null], [[]], ['a report']])('whose report is %j cannot be recorded', async (report) => {
    await expect(record(report)).rejects.toMatchObject({ code: '23514' });
  });

  test('whose report lacks a key cannot be recorded, whichever key it is', async () => {
    const lacking = Object.entries(three).flatMap(([key, value]): [string, object][] => [
      [key, { ...three, [key]: undefined }],
      ...Object.keys(value).map((inner): [string, object] => [
        `${key}.${inner}`,
        { ...three, [key]: { ...(value as object), [inner]: undefined } },
      ]),
    ]);

    const taken: string[] = [];
    for (const [key, report] of lacking) {
      await record(report).then(
        () => taken.push(key),
        (error) => expect(error).toMatchObject({ constraint_name: 'settlement_report_adds_up' }),
      );
    }

    expect(taken).toEqual([]);
  });
});
