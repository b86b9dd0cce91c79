// An LML over a real socket that misbehaves at random, and remembers what it said to whom. What it says of a record
// seldom changes while it is well.
import { createHash } from 'node:crypto';
import { type Call, type Reply, type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import { textOf } from '../model/answers.js';
import type { Gauge } from '../model/brake.js';
import { type AnswerStep, IDS, NOWHERE, result } from '../model/histories.js';
import { Pairs } from '../model/json.js';
import { REFUSED_DISCOGS_ID, SERVICE } from '../model/model.js';
import fc from '../support/fast-check.js';
import type { Chance } from './random.js';
import { POISON } from './shelf.js';

const MOODS = { well: 10, overloaded: 2, shifted: 2, garbled: 2, gone: 1 } as const;
const MOOD_MS = 20_000;

export interface Post {
  at: number;
  /** The process that asked. */
  by: string | undefined;
  status: number;
  /** The text of each input's question, as the model has it. */
  questions: Map<number, string>;
  answer: AnswerStep;
}

export interface FaultyLml extends StandIn {
  posts: Post[];
  /** How often it did what. */
  faults: Map<string, number>;
  /** The gauge of the brake for which it is bad enough; null: for none. */
  spell: Gauge | null;
  /** Whether nothing is wrong with it. */
  isQuiet: boolean;
}

/** `pids` are the processes by their keys. */
export async function startFaultyLml(
  chance: Chance,
  seed: number,
  pids: Map<string, string>,
): Promise<FaultyLml> {
  const posts: Post[] = [];
  const faults = new Map<string, number>();
  const strange = fc.sample(result, { numRuns: 2000, seed });
  let mood: keyof typeof MOODS = 'well';
  let until = 0;

  function reply({ index, inputs }: Call): Reply {
    if (Date.now() > until) {
      mood = chance.weighed(MOODS);
      until = Date.now() + MOOD_MS;
    }
    if (lml.isQuiet || lml.spell) mood = 'well';
    const by = pids.get(lml.calls[index]!.headers.authorization!.replace('Bearer ', ''));
    const isPoisoned = !lml.isQuiet && inputs.some(({ artist_name }) => artist_name === POISON);
    const kind = isPoisoned ? 'poison' : fault();
    faults.set(kind, (faults.get(kind) ?? 0) + 1);
    const answer = answerTo(inputs, kind);
    const delayMs = kind === 'slow' ? chance.between(500, 4500) : chance.between(10, 120);
    const said = { delayMs, body: textOf(answer), ...however(kind) };
    const questions = inputs.map(({ library_id, artist_name, album_title }) => {
      return [library_id, JSON.stringify([library_id, artist_name, album_title])] as const;
    });
    posts.push({ at: Date.now(), by, status: said.status ?? 200, answer, questions: new Map(questions) });
    return said;
  }

  function however(kind: string): Reply {
    switch (kind) {
      case 'poison':
      case 'refused':
        return { status: 422 };
      case 'error':
        return { status: chance.of([500, 502, 503, 504]) };
      case 'too much':
        return { status: 429, headers: { 'retry-after': String(chance.between(0, 2)) } };
      case 'too large':
        return { status: 413 };
      case 'wrong key':
        return { status: 401 };
      case 'cut':
        return { destroy: true };
      case 'stalled':
        return { stall: true };
      case 'dripping':
        return { drip: { bytes: 500, everyMs: 20 } };
      default:
        return {};
    }
  }

  function fault() {
    if (lml.isQuiet) return 'none';
    return chance.weighed({
      ...{ none: mood === 'gone' ? 150 : 300, slow: 4, error: mood === 'gone' ? 40 : 6, 'too much': 4 },
      ...{ 'too large': 1, refused: 1, cut: 6, stalled: 1, dripping: 4, 'no answer': 5, 'in parts': 8 },
      'wrong key': 0.2,
    });
  }

  function answerTo(inputs: Call['inputs'], kind: string): AnswerStep {
    const garbled = mood === 'garbled' ? 0.3 : lml.spell ? 0 : 0.04;
    const results = inputs.flatMap((input): unknown[] => {
      if (lml.isQuiet) return [verdictOn(input.library_id, input.artist_name)];
      if (chance.is(0.01)) return [];
      const said = chance.is(garbled)
        ? withId(chance.of(strange), input.library_id)
        : verdictOn(input.library_id, input.artist_name);
      return chance.is(0.005) ? [said, said] : [said];
    });
    if (!lml.isQuiet && chance.is(0.02))
      results.push(verdictOn(chance.is(0.3) ? NOWHERE : chance.between(1, 100), 'Nobody'));
    if (!lml.isQuiet && chance.is(0.003)) results.reverse();
    const shape =
      kind === 'no answer'
        ? chance.of(['cut short', 'no answer'] as const)
        : kind === 'in parts'
          ? chance.of(['array', 'one'] as const)
          : 'whole';
    return {
      ...{ kind: 'answer', results, shape, stats: null, requested: null },
      version: lml.isQuiet || chance.is(0.95) ? 1 : chance.of([null, 7, '1', undefined]),
      ...{ origin: SERVICE, daysAgo: 0, strict: false, isLate: false },
    };
  }

  function verdictOn(library_id: number, name: string): object {
    const nothing = { library_id, main: null, method: null, confidence: null, provenance: [] };
    if (name.startsWith('Various')) return { kind: 'compilation', ...nothing, ...tracks() };
    if (lml.spell === 'refused' && chance.is(0.85)) return { kind: 'single_artist', ...nothing };
    const drawn = createHash('sha256').update(name).digest();
    const isOverloaded = lml.spell === 'unresolved' || (mood === 'overloaded' && chance.is(0.7));
    if (drawn[0]! < 50 || isOverloaded)
      return { kind: 'unresolved', ...nothing, tracks_attempted: null, tracks: null };
    const isShifted = mood === 'shifted' || (!lml.isQuiet && chance.is(0.05));
    const other = lml.spell === 'changed' ? 1000 : isShifted ? 1 : 0;
    const discogs = !lml.isQuiet && chance.is(0.003) ? REFUSED_DISCOGS_ID : 1 + drawn[1]! + other;
    const spotify = drawn[2]! % 2 ? `spotify-${drawn[3]}` : null;
    const leg = (source: string, external_id: string, confidence = 1) => ({
      ...{ source, external_id, confidence, method: confidence < 1 ? 'name_variation' : 'exact_match' },
    });
    return {
      ...{ kind: 'single_artist', library_id, tracks_attempted: false, tracks: [] },
      main: { discogs_artist_id: discogs, spotify_artist_id: spotify },
      ...{ method: spotify ? 'cross_source_agreement' : 'exact_match', confidence: spotify ? 0.97 : 1 },
      provenance: [
        leg('discogs', String(discogs)),
        ...(spotify ? [leg('spotify', spotify, 0.95)] : []),
        ...(!lml.isQuiet && chance.is(0.03) ? [leg('deezer', String(drawn[4]))] : []),
      ],
    };
  }

  function tracks() {
    if (mood === 'gone' || chance.is(0.2)) return { tracks_attempted: false, tracks: [] };
    const named = (artist_name: string, track_title: string | null, resolved: string | null) => ({
      ...{ artist_name, track_title, track_position: chance.of([null, 'A1']), sources: [] },
      ...{ resolved_artist_name: resolved, confidence: resolved ? 0.9 : null, method: 'name_variation' },
    });
    const tracks = [
      named('Ani DiFranco', null, chance.of(['Thom Yorke', 'Thom Yorke', null])),
      named('Thom Yorke', 'Analyse', chance.of(['BJÖRK', 'Thom Yorke', 'Twin'])),
      named('Björk', 'Jóga', 'Björk'),
    ];
    return { tracks_attempted: true, tracks };
  }

  const standIn = await startStandIn({ identities: new Map(), answer: reply });
  const lml: FaultyLml = Object.assign(standIn, { posts, faults, spell: null, isQuiet: false });
  return lml;
}

/** A result of the model's histories that speaks of this library, where it speaks of one of theirs. */
function withId(value: unknown, id: number): unknown {
  const put = (key: string, member: unknown) =>
    key === 'library_id' && IDS.includes(member as number) ? id : member;
  if (value instanceof Pairs) return new Pairs(value.pairs.map(([key, member]) => [key, put(key, member)]));
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return 'library_id' in value ? { ...value, library_id: put('library_id', value.library_id) } : value;
}
