// Histories on which the database and the contract once disagreed, in their smallest form.
import { singleArtist, unresolved } from '../support/verdicts.js';
import { type AnswerStep, IDS, type Step } from './histories.js';
import { SERVICE } from './model.js';

const answer = (result: object, daysAgo: number): AnswerStep => ({
  ...{ kind: 'answer', results: [result], requested: IDS, shape: 'whole', version: 1, stats: null },
  ...{ origin: SERVICE, daysAgo, strict: false, isLate: false },
});

export const EXAMPLES: Record<string, Step[]> = {
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
};
