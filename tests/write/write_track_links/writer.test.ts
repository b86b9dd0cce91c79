import { describe, expect, test } from 'vitest';
import {
  answer,
  counted,
  credits,
  FORRO,
  GYPSY,
  LINKED,
  missed,
  RELEASES,
  track,
  UNLINKED,
  useTracks,
  visited,
  YOUTH,
} from '../../support/tracks.js';
import {
  MONDAY,
  REPAIR,
  SERVICE,
  singleArtist,
  TUESDAY,
  untilBlocked,
  WEDNESDAY,
} from '../../support/writer.js';

const tracks = useTracks();

const FESTA = ['Gal Costa', 'Festa Do Interior'] as const;
const ASA_BRANCA = ['Gonzaguinha', 'Asa Branca'] as const;
const DUMA = ['Братья Николай И Алексей Васильевы', 'Дума'] as const;
const WAYANA = ['أركان فؤاد', 'ويانا'] as const;

const ALL = [
  visited(FORRO, [track(...FESTA), track(...ASA_BRANCA, { confidence: 0.5 })]),
  visited(GYPSY, [track(...DUMA)]),
  visited(YOUTH, [track(...WAYANA)]),
];
const REQUESTED = RELEASES.map((release) => release.id);

/** Credits the three compilations; the credit that the tests refuse is the second of the first. */
async function creditAll() {
  return {
    festa: await tracks.credit(FORRO, ...FESTA),
    asaBranca: await tracks.credit(FORRO, ...ASA_BRANCA),
    duma: await tracks.credit(GYPSY, ...DUMA),
    wayana: await tracks.credit(YOUTH, ...WAYANA),
  };
}

const applyAll = (changes = {}) =>
  tracks.writer.apply(answer(ALL), {
    requested: REQUESTED,
    origin: SERVICE,
    verifiedAt: MONDAY,
    ...changes,
  });

/** Something of the station that stands in the way of one credit, and what the database says of it. */
const OBSTACLES: Record<string, { sql: string; sqlstate: string; message: RegExp }> = {
  'a constraint': {
    sql: `alter table wxyc_schema.compilation_track_artist
      add constraint sure check (track_artist_link_confidence > 0.6)`,
    sqlstate: '23514',
    message: /violates check constraint "sure"/,
  },
  'a trigger': {
    sql: `create function station.describe_refusal() returns trigger language plpgsql as $$
        begin
          if new.track_artist_link_confidence < 0.6 then raise exception 'unsure' using errcode = 'P0042'; end if;
          return new;
        end $$;
      create trigger refuse before update on wxyc_schema.compilation_track_artist
        for each row execute function station.describe_refusal();`,
    sqlstate: 'P0042',
    message: /^unsure$/,
  },
  'a trigger that speaks at the commit': {
    sql: `create function station.describe_refusal() returns trigger language plpgsql as $$
        begin
          if new.track_artist_link_confidence < 0.6 then raise exception 'too late' using errcode = 'P0042'; end if;
          return new;
        end $$;
      create constraint trigger refuse after update on wxyc_schema.compilation_track_artist
        deferrable initially deferred for each row execute function station.describe_refusal();`,
    sqlstate: 'P0042',
    message: /^too late$/,
  },
  'a trigger for whole statements': {
    sql: `create function station.describe_refusal() returns trigger language plpgsql as $$
        begin
          if exists (select from touched where track_artist_link_confidence < 0.6) then
            raise exception 'not like this' using errcode = 'P0042';
          end if;
          return null;
        end $$;
      create trigger refuse after update on wxyc_schema.compilation_track_artist
        referencing new table as touched for each statement execute function station.describe_refusal();`,
    sqlstate: 'P0042',
    message: /^not like this$/,
  },
  'a trigger that drops what is written without a word': {
    sql: `create function station.drop_it() returns trigger language plpgsql as $$
        begin
          return case when new.track_artist_link_confidence < 0.6 then null else new end;
        end $$;
      create trigger drop_it before update on wxyc_schema.compilation_track_artist
        for each row execute function station.drop_it();`,
    sqlstate: 'LS006',
    message: /^track links written: 1 of 2 rows/,
  },
};

/** Clears away what an obstacle has put on the credits: the schema station goes by itself. */
const clearAway = () =>
  tracks.sql`alter table wxyc_schema.compilation_track_artist drop constraint if exists sure`;

describe('what the database refuses', () => {
  test.each(Object.keys(OBSTACLES))(
    'by %s costs its compilation alone, and all of that',
    async (obstacle) => {
      const { sql, sqlstate, message } = OBSTACLES[obstacle]!;
      const { festa, asaBranca, duma, wayana } = await creditAll();
      try {
        await tracks.sql.unsafe(sql);
        const report = await applyAll();
        expect(report).toMatchObject({ rows_resolved_compilation: 2, rows_skipped: { writer_error: 1 } });
        expect(counted(report.compilation_track)).toEqual({ written: 2, no_catalog_artist: 2 });
      } finally {
        await clearAway();
      }
      expect(await tracks.link(festa)).toEqual(UNLINKED);
      expect(await tracks.link(asaBranca)).toEqual(UNLINKED);
      expect(await tracks.link(duma)).toMatchObject(LINKED);
      expect(await tracks.link(wayana)).toMatchObject(LINKED);
      expect(await tracks.writer.quarantine()).toMatchObject([
        { library_id: FORRO, outcome: 'writer_error', sqlstate, message: expect.stringMatching(message) },
      ]);
      expect(await tracks.writer.attempts()).toMatchObject([
        { library_id: FORRO, outcome: 'writer_error' },
        { library_id: GYPSY, outcome: 'compilation' },
        { library_id: YOUTH, outcome: 'compilation' },
      ]);
    },
  );

  test('leaves nothing of what links were before, nor of what was linked', async () => {
    const { duma } = await creditAll();
    await tracks.apply(GYPSY, [track(...DUMA, { confidence: 0.9 })], { verifiedAt: MONDAY });
    try {
      await tracks.sql.unsafe(OBSTACLES['a constraint']!.sql);
      await tracks.writer.apply(
        answer([visited(GYPSY, [track(...DUMA, { confidence: 0.1 })]), ALL[0]!, ALL[2]!]),
        {
          requested: REQUESTED,
          origin: SERVICE,
          verifiedAt: TUESDAY,
        },
      );
    } finally {
      await clearAway();
    }
    expect(await tracks.link(duma)).toMatchObject({ track_artist_link_confidence: expect.closeTo(0.9) });
    expect(await tracks.superseded()).toEqual([]);
    const [settlement] = await tracks.sql`
      select linked_credit_ids from identity_sync.settlement order by settlement_id desc limit 1`;
    expect(settlement!.linked_credit_ids).toHaveLength(1);
  });

  test('costs no identity of the same answer', async () => {
    await creditAll();
    try {
      await tracks.sql.unsafe(OBSTACLES['a constraint']!.sql);
      const report = await tracks.writer.apply(answer([singleArtist(18114), ...ALL]), {
        requested: [18114, ...REQUESTED],
        origin: SERVICE,
      });
      expect(report).toMatchObject({
        rows_resolved: 1,
        rows_resolved_compilation: 2,
        identity: { inserted: 1 },
      });
    } finally {
      await clearAway();
    }
  });

  test('is linked by a replay, once the obstacle is gone', async () => {
    const { festa, asaBranca } = await creditAll();
    try {
      await tracks.sql.unsafe(OBSTACLES['a constraint']!.sql);
      await applyAll();
    } finally {
      await clearAway();
    }
    const [{ report }] = await tracks.sql<
      [{ report: { rows_resolved_compilation: number; replayed: number } }]
    >`
      select report from identity_sync.replay_quarantined_verdicts() as report`;
    expect(report).toMatchObject({
      replayed: 1,
      rows_resolved_compilation: 1,
      compilation_track: { written: 2 },
    });
    expect(await tracks.link(festa)).toMatchObject(LINKED);
    expect(await tracks.link(asaBranca)).toMatchObject({ track_artist_link_confidence: 0.5 });
    expect(await tracks.writer.quarantine()).toEqual([]);
  });
});

describe('beside another session', () => {
  /** Lets a librarian change a credit while an answer is applied, and returns what the answer came to. */
  async function whileLibrarian(change: string) {
    const { festa } = await creditAll();
    await tracks.artist('Gal Costa');
    const librarian = await tracks.writer.session();
    const service = await tracks.writer.session();
    await librarian.sql`begin`;
    try {
      await librarian.sql.unsafe(change.replace('$1', String(festa)));
      const applied = service.sql<[{ report: { compilation_track: object } }]>`
        select report from identity_sync.apply_identity_verdicts(
          response => ${JSON.stringify(answer([ALL[0]!]))}::text::jsonb, requested => ${[FORRO]},
          origin => ${SERVICE}) as report`.execute();
      await untilBlocked(tracks.sql, service);
      await librarian.sql`commit`;
      const [{ report }] = await applied;
      return { festa, report };
    } finally {
      await librarian.sql`rollback`;
    }
  }

  test('a link that a librarian makes meanwhile stays his', async () => {
    const { festa, report } = await whileLibrarian(
      `update wxyc_schema.compilation_track_artist set track_artist_link_method = 'librarian' where id = $1`,
    );
    expect(counted(report.compilation_track)).toEqual({ written: 1, librarian: 1, no_catalog_artist: 1 });
    expect(await tracks.link(festa)).toEqual({ ...UNLINKED, track_artist_link_method: 'librarian' });
  });

  test('a credit that goes meanwhile matches no more', async () => {
    const { report } = await whileLibrarian(`delete from wxyc_schema.compilation_track_artist where id = $1`);
    expect(counted(report.compilation_track)).toEqual({ written: 1, no_cta_match: 1, no_catalog_artist: 1 });
  });

  test('two that apply the same compilations wait for each other, and no link before is lost', async () => {
    const { festa } = await creditAll();
    const [one, other] = [await tracks.writer.session(), await tracks.writer.session()];
    const apply = (sql: typeof one.sql, confidence: number) =>
      sql`
        select from identity_sync.apply_identity_verdicts(
          response => ${JSON.stringify(answer([visited(FORRO, [track(...FESTA, { confidence })])]))}::text::jsonb,
          requested => ${[FORRO]}, origin => ${SERVICE}, verified_at => '2026-11-02')`;
    await one.sql`begin`;
    try {
      await apply(one.sql, 0.5);
      const waiting = apply(other.sql, 0.75).execute();
      await untilBlocked(tracks.sql, other);
      await one.sql`commit`;
      await waiting;
    } finally {
      await one.sql`rollback`;
    }
    expect(await tracks.link(festa)).toMatchObject({ track_artist_link_confidence: 0.75 });
    expect(await tracks.superseded()).toMatchObject([
      { credit_id: festa, action: 'changed', track_artist_link_confidence: 0.5 },
    ]);
  });
});

describe('an answer that is older', () => {
  test.each([
    [
      'than the identity that is there',
      () => tracks.writer.service([singleArtist(FORRO)], { verifiedAt: TUESDAY }),
    ],
    [
      'than the last one about the compilation',
      () => tracks.apply(FORRO, [missed(...FESTA)], { verifiedAt: TUESDAY }),
    ],
  ])('%s links nothing: stale_verdict', async (_what, newer) => {
    await creditAll();
    await newer();
    const before = await credits(tracks.sql);
    const report = await applyAll();
    expect(report).toMatchObject({ rows_resolved_compilation: 2, rows_skipped: { stale_verdict: 1 } });
    expect(counted(report.compilation_track)).toEqual({ written: 2, no_catalog_artist: 2 });
    const after = await credits(tracks.sql);
    expect(after.filter((credit) => credit.library_id === FORRO)).toEqual(
      before.filter((credit) => credit.library_id === FORRO),
    );
  });

  test('overrides by hand, age included', async () => {
    const { festa } = await creditAll();
    await tracks.apply(FORRO, [track(...FESTA)], { verifiedAt: TUESDAY });
    const report = await applyAll({ origin: REPAIR });
    expect(report).toMatchObject({ rows_resolved_compilation: 3 });
    expect(await tracks.link(festa)).toMatchObject({ ...LINKED, track_artist_link_method: 'librarian' });
  });

  test('of the same time is none', async () => {
    await creditAll();
    await tracks.apply(FORRO, [missed(...FESTA)], { verifiedAt: MONDAY });
    expect(await applyAll()).toMatchObject({ rows_resolved_compilation: 3 });
  });

  test('and a newer one links', async () => {
    await creditAll();
    await tracks.apply(FORRO, [missed(...FESTA)], { verifiedAt: TUESDAY });
    expect(await applyAll({ verifiedAt: WEDNESDAY })).toMatchObject({ rows_resolved_compilation: 3 });
  });
});

test('what a link was is kept with the settlement that replaced it, and its reason', async () => {
  const { festa } = await creditAll();
  await applyAll();
  await applyAll({ origin: REPAIR, requested: null });
  await tracks.apply(FORRO, [track(...FESTA, { confidence: 0.75 })], { origin: REPAIR });
  const [kept] = await tracks.sql`
    select settlement.origin, kept.superseded_reason, kept.superseded_at is not null as is_dated, kept.credit_id
    from identity_sync.superseded_track_link as kept
    join identity_sync.settlement using (settlement_id)`;
  expect(kept).toEqual({
    origin: REPAIR,
    superseded_reason: expect.stringMatching(/^verdict of repair:music-director, settlement \d+$/),
    is_dated: true,
    credit_id: festa,
  });
});

describe('a dry run', () => {
  test('reports what would be, refusals included, and writes nothing', async () => {
    await creditAll();
    try {
      await tracks.sql.unsafe(OBSTACLES['a trigger that speaks at the commit']!.sql);
      const before = await tracks.writer.everything();
      const [{ report }] = await tracks.sql<[{ report: object }]>`
        select report from identity_sync_private.rehearse_identity_verdicts(
          ${JSON.stringify(answer(ALL))}::text::jsonb, ${REQUESTED}, ${SERVICE}) as report`;
      expect(report).toMatchObject({
        rows_resolved_compilation: 2,
        rows_skipped: { writer_error: 1 },
        compilation_track: { written: 2 },
      });
      expect(await tracks.writer.everything()).toEqual(before);
      expect(await tracks.writer.attempts()).toEqual([]);
      expect(await tracks.writer.quarantine()).toEqual([]);
    } finally {
      await clearAway();
    }
  });
});
