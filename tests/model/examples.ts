// Histories on which the database and the contract once disagreed, in their smallest form.
import { singleArtist, unresolved } from '../support/verdicts.js';
import { type AnswerStep, IDS, type Step } from './histories.js';
import { SERVICE } from './model.js';

const answer = (result: object, daysAgo: number): AnswerStep => ({
  ...{ kind: 'answer', results: [result], requested: IDS, shape: 'whole', version: 1, stats: null },
  ...{ origin: SERVICE, daysAgo, strict: false, isLate: false },
});

const credit = { artist_name: 'Ani DiFranco', track_title: null, track_position: 'A1', sources: [] };
const linked = {
  ...{ kind: 'compilation', library_id: 4, main: null, method: null, confidence: null, provenance: [] },
  tracks_attempted: true,
  tracks: [{ ...credit, resolved_artist_name: 'Thom Yorke', confidence: 1, method: 'manual' }],
};

const found = { source: 'discogs', method: 'exact_match', confidence: 1, external_id: '1' };
const other = { ...found, confidence: 0.9 };

export const EXAMPLES: Record<string, Step[]> = {
  'sources stay where another writer has touched the main row since': [
    answer(singleArtist(1, { provenance: [found] }), 8),
    answer(singleArtist(1, { provenance: [other] }), 6),
    { kind: 'other', id: 1, what: 'release id' },
    { kind: 'undo', run: 1, ids: null },
  ],
  'an undo leaves a library whose other sources another run wrote since': [
    answer(singleArtist(1, { provenance: [found] }), 8),
    answer(singleArtist(1, { provenance: [other] }), 7),
    answer(singleArtist(1, { provenance: [other, { ...found, source: 'deezer' }] }), 6),
    { kind: 'undo', run: 1, ids: null },
  ],
  'an undo that took back sources alone is undone': [
    answer(singleArtist(1, { provenance: [found] }), 8),
    answer(singleArtist(1, { provenance: [other] }), 6),
    { kind: 'undo', run: 1, ids: null },
    { kind: 'undo', run: 2, ids: null },
  ],
  'an undo takes sources back where the main row stayed as an earlier run of ours had left it': [
    answer(singleArtist(1, { provenance: [found] }), 8),
    answer(singleArtist(1, { provenance: [other] }), 8),
    { kind: 'undo', run: 1, ids: null },
  ],
  'an undone identity whose library has a younger mark is due': [
    answer(unresolved(1), 8),
    answer(singleArtist(1), 40),
    { kind: 'undo', run: 1, ids: null },
  ],
  'a refusal is replayed as the answer to its own question': [
    answer(singleArtist(3, { kind: 'hunch' }), 1),
    { kind: 'release', id: 3 },
    { kind: 'undo', run: 1, ids: null },
    { kind: 'rename', id: 3, artist: 'Prince', title: 'Untitled' },
    { kind: 'replay', ids: null },
  ],
  'an undo leaves the links of a library that was held since': [
    answer(linked, 40),
    { kind: 'hold', id: 4 },
    { kind: 'undo', run: 0, ids: null },
  ],
  'an undo gives the survivor of a merge nothing of what the loser was': [
    answer(singleArtist(3), 40),
    answer(singleArtist(1), 40),
    { ...answer(singleArtist(1), 1), results: [singleArtist(1), singleArtist(3, { confidence: 0.96 })] },
    { kind: 'merge', loser: 3, survivor: 1 },
    { kind: 'undo', run: 2, ids: null },
  ],
};
