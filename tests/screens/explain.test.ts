// `explain` as a person sees it: a row never asked, and one to which everything has happened.
import { expect, test } from 'vitest';
import { type Explained, explainScreen } from '../../src/screens/explain.js';
import { widthOf } from '../../src/screens/format.js';

const AT = '2026-11-28T03:24:00+00:00';

const unknown: Explained = {
  at: AT,
  library_id: 7,
  artist_name: 'Stereolab',
  album_title: 'Dots and Loops',
  due: { is_due: true, due_at: AT, sentence: 'due now: it was never asked' },
  identity: null,
  sources: [],
  mark: null,
  quarantine: null,
  open_batches: [],
  homonyms: [],
  timeline: [],
};

const said = { notes: 'consumer:lml-bulk', run_id: 211, last_verified_at: '2026-11-25T03:20:00+00:00' };
const event = { run_id: null, origin: null, by: null, what: null, changes: [] };

const full: Explained = {
  at: AT,
  library_id: 5,
  artist_name: 'A Tribe Called Quest\u001b[2J',
  album_title: 'The Low End Theory',
  due: {
    is_due: false,
    due_at: '2026-12-02T03:20:00+00:00',
    sentence: 'due on 2026-12-02 03:20 UTC: verified on 2026-11-25 03:20 UTC, stale after 7 days',
  },
  identity: {
    ...said,
    ...{
      discogs_artist_id: 3268,
      musicbrainz_artist_id: '9689aa5a-4471-4fb4-9721-07cecda0fa9f',
      wikidata_qid: null,
    },
    ...{ spotify_id: '4AMvtewfWhXhXIZfiXFcdI', apple_music_id: null, bandcamp_id: null },
    ...{ method: 'cross_source_agreement', confidence: 0.97, is_held: false },
  },
  sources: [
    { ...said, source: 'discogs', external_id: '3268', method: 'exact_match', confidence: 1 },
    {
      ...{
        source: 'spotify',
        external_id: '4AMvtewfWhXhXIZfiXFcdI',
        method: 'name_variation',
        confidence: 0.97,
      },
      ...{ notes: null, run_id: null, last_verified_at: '2026-11-20T03:20:00+00:00' },
    },
  ],
  mark: { outcome: 'invalid_verdict', attempted_at: '2026-11-27T03:20:00+00:00', run_id: 212 },
  quarantine: {
    ...{
      quarantine_id: 14,
      run_id: 212,
      outcome: 'invalid_verdict',
      path: 'confidence',
      value: 7,
      sqlstate: null,
    },
    ...{ reason: 'confidence is 7; allowed: a number from 0 to 1', message: null },
    quarantined_at: '2026-11-27T03:20:01+00:00',
  },
  open_batches: [{ batch_id: 99, run_id: 213, dry_run: false, state: 'in_flight' }],
  homonyms: [{ artist_id: 4711, artist_name: 'A TRIBE CALLED QUEST', libraries: 2 }],
  timeline: [
    {
      ...event,
      ...{ at: '2026-11-27T03:20:01+00:00', kind: 'quarantined', run_id: 212 },
      what: 'invalid_verdict: confidence is 7; allowed: a number from 0 to 1',
      changes: [{ row: 'verdict', column: 'confidence', old: null, new: 7 }],
    },
    {
      ...event,
      ...{ at: '2026-11-25T03:20:00+00:00', kind: 'changed', run_id: 211, what: 'another verdict of LML' },
      changes: [
        {
          ...{ row: 'identity', column: 'spotify_id' },
          ...{ old: '09hVIj6vWgoCDtT03h8ZCa', new: '4AMvtewfWhXhXIZfiXFcdI' },
        },
        { row: 'identity', column: 'confidence', old: 0.95, new: 0.97 },
        { row: 'bandcamp', column: 'external_id', old: 'atribecalledquest', new: null },
      ],
    },
    {
      ...event,
      ...{ at: '2026-11-18T03:20:00+00:00', kind: 'identified', origin: 'repair:music-director' },
      ...{ by: 'music-director', what: 'first identity' },
    },
  ],
};

const screen = (explained: Explained, width: number) => `\n${explainScreen(explained, width).join('\n')}\n`;

test('a row that was never asked', () => {
  expect(screen(unknown, 60)).toMatchInlineSnapshot(`
    "
    7  Stereolab – Dots and Loops
    due now: it was never asked

    NOW         no identity

    HISTORY     nothing has happened to it yet
    "
  `);
});

test('all that has happened to a row, at 60 columns', () => {
  expect(screen(full, 60)).toMatchInlineSnapshot(`
    "
    5  A Tribe Called Quest␛[2J – The Low End Theory
    due on 2026-12-02 03:20 UTC: verified on 2026-11-25 03:20
    UTC, stale after 7 days · due in 4 days

    NOW         discogs 3268
                musicbrainz 9689aa5a-4471-4fb4-9721-07cecda0fa9f
                spotify 4AMvtewfWhXhXIZfiXFcdI
                cross_source_agreement 0.97
                run 211, 3 days ago
      source   id                      confidence
      discogs  3268                          1.00
      spotify  4AMvtewfWhXhXIZfiXFcdI        0.97
    MARK        invalid_verdict 24 h ago, run 212
    QUARANTINE  invalid_verdict 24 h ago: confidence is 7;
                allowed: a number from 0 to 1
                confidence: 7
                judge again: identity-sync replay --ids 5
                close: identity-sync dismiss 14 --reason WHY
    BATCH       batch 99 of run 213: in_flight
    HOMONYMS    A TRIBE CALLED QUEST (artist 4711, 2 rows)

    HISTORY     2026-11-27 03:20 UTC, 24 h ago  run 212
                refused: invalid_verdict: confidence is 7;
                allowed: a number from 0 to 1
                  verdict confidence  7
                2026-11-25 03:20 UTC, 3 days ago  run 211
                changed: another verdict of LML
                  spotify_id            09hVIj6vWgoCDtT03h8ZCa
                                        → 4AMvtewfWhXhXIZfiXFcdI
                  confidence            0.95 → 0.97
                  bandcamp external_id  atribecalledquest → –
                2026-11-18 03:20 UTC, 10 days ago
                repair:music-director  first identity
    "
  `);
});

test('the same at 200 columns', () => {
  expect(screen(full, 200)).toMatchInlineSnapshot(`
    "
    5  A Tribe Called Quest␛[2J – The Low End Theory
    due on 2026-12-02 03:20 UTC: verified on 2026-11-25 03:20 UTC, stale after 7 days · due in 4 days

    NOW         discogs 3268 · musicbrainz 9689aa5a-4471-4fb4-9721-07cecda0fa9f · spotify 4AMvtewfWhXhXIZfiXFcdI · cross_source_agreement 0.97 · run 211, 3 days ago
      source   id                      method          confidence  said by         when
      discogs  3268                    exact_match           1.00  run 211         3 days ago
      spotify  4AMvtewfWhXhXIZfiXFcdI  name_variation        0.97  another writer  8 days ago
    MARK        invalid_verdict 24 h ago, run 212
    QUARANTINE  invalid_verdict 24 h ago: confidence is 7; allowed: a number from 0 to 1
                confidence: 7
                judge again: identity-sync replay --ids 5 · close: identity-sync dismiss 14 --reason WHY
    BATCH       batch 99 of run 213: in_flight
    HOMONYMS    A TRIBE CALLED QUEST (artist 4711, 2 rows)

    HISTORY     2026-11-27 03:20 UTC, 24 h ago  run 212  refused: invalid_verdict: confidence is 7; allowed: a number from 0 to 1
                  verdict confidence  7
                2026-11-25 03:20 UTC, 3 days ago  run 211  changed: another verdict of LML
                  spotify_id            09hVIj6vWgoCDtT03h8ZCa → 4AMvtewfWhXhXIZfiXFcdI
                  confidence            0.95 → 0.97
                  bandcamp external_id  atribecalledquest → –
                2026-11-18 03:20 UTC, 10 days ago  repair:music-director  first identity
    "
  `);
});

test('no line is broken, at any width from 60 to 200', () => {
  for (let width = 60; width <= 200; width++)
    expect(explainScreen(full, width).filter((line) => widthOf(line) > width)).toEqual([]);
});

test('of many events the latest are shown, and how to see the others', () => {
  const timeline = Array.from({ length: 50 }, () => full.timeline[2]!);
  expect(explainScreen({ ...full, timeline }, 80).at(-1)).toContain('30 older ones: --json');
});
