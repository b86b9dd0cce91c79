// The brake of the contract: what no healthy run shows stops it, and the marks and quarantine of the rows counted are
// taken back as they were.
import type { Identity, Met, Model } from './model.js';

export const GAUGES = ['changed', 'refused', 'unresolved'] as const;
export type Gauge = (typeof GAUGES)[number];

const THRESHOLDS = { changed: 0.2, refused: 0.5, unresolved: 0.95 };
/** How far above its usual share an unresolved run must be. */
const ABOVE_USUAL = 0.2;
const [MOST_ROWS, FEWEST_ROWS, FEWEST_ANSWERS] = [1000, 200, 3];

/** What one answer shows: the rows that each gauge counts, and how many of them it finds at fault. */
interface Reading {
  settlement: number;
  at: number;
  met: Met;
  of: Record<Gauge, { ids: number[]; counted: number; seen: number }>;
}

/** What the brake knows of a run over the catalogue. */
export interface Braking {
  readings: Reading[];
  brakedBy: Gauge | null;
}

/** Measures the run's last answer, and stops the run where a gauge that is not accepted is at its limit. */
export function brake(model: Model, run: number, accept: string[]): void {
  const reading = readLast(model);
  const before = model.runs.get(run);
  const readings = [...(before?.readings ?? []), reading];
  const brakedBy = before?.brakedBy ?? null;
  model.runs.set(run, { readings, brakedBy });
  if (brakedBy !== null) {
    takeBack(model, reading, brakedBy);
    return;
  }

  for (const gauge of GAUGES) {
    const suspects = accept.includes(gauge) ? [] : latest(readings, gauge);
    const [counted, seen] = sumOf(suspects, gauge);
    const isEnough = counted >= (suspects.length >= FEWEST_ANSWERS ? FEWEST_ROWS : MOST_ROWS);
    if (!isEnough || seen < THRESHOLDS[gauge] * counted) continue;
    if (gauge === 'unresolved' && isUsual(model, run, seen / counted)) continue;
    model.runs.set(run, { readings, brakedBy: gauge });
    for (const suspect of suspects) takeBack(model, suspect, gauge);
    return;
  }
}

function readLast(model: Model): Reading {
  const { id: settlement, at, met, identities } = model.settlements.at(-1)!;
  const doubted = new Set(
    [...model.runs.values()]
      .filter(({ brakedBy }) => brakedBy === 'changed')
      .flatMap(({ readings }) => readings.map((reading) => reading.at)),
  );
  const idsOf = (judged: Met['judged']) => judged.flatMap(({ id }) => id ?? []);
  const reading = (counted: Met['judged'], isSeen: (judged: Met['judged'][number]) => boolean) => ({
    ...{ ids: idsOf(counted), counted: counted.length, seen: counted.filter(isSeen).length },
  });
  const { judged, marks, renamed } = met;
  return {
    ...{ settlement, at, met },
    of: {
      unresolved: reading(
        judged.filter(
          ({ id, outcome }) =>
            ['resolved', 'resolved_compilation', 'compilation', 'unresolved'].includes(outcome) &&
            (marks.get(id!)?.isIdentified ?? true),
        ),
        ({ outcome }) => outcome === 'unresolved',
      ),
      refused: reading(
        judged.filter(({ outcome }) => !NOT_JUDGED.includes(outcome)),
        ({ outcome }) => ['invalid_verdict', 'writer_error'].includes(outcome),
      ),
      changed: reading(
        judged.filter(
          ({ id, action }) =>
            (action === 'changed' || action === 'unchanged') &&
            !renamed.includes(id!) &&
            !doubted.has(identities.get(id!)?.verifiedAt ?? Number.NaN),
        ),
        ({ id, verdict }) => isAnother(identities.get(id!), verdict!.content as Partial<Identity>),
      ),
    },
  };
}

const NOT_JUDGED = [...['lml_error', 'lml_cardinality_mismatch', 'lml_untrusted_library_id', 'library_gone']];

/** Whether an id is replaced by another; one that comes or goes names no other artist. */
function isAnother(before: Identity | null | undefined, now: Partial<Identity>): boolean {
  const ids = ['discogs_artist_id', 'musicbrainz_artist_id', 'wikidata_qid'] as const;
  const more = ['spotify_id', 'apple_music_id', 'bandcamp_id'] as const;
  return [...ids, ...more].some((column) => {
    const [one, other] = [before?.[column] ?? null, now[column] ?? null];
    return one !== null && other !== null && one !== other;
  });
}

/** The latest answers that together hold a thousand rows of a gauge. */
function latest(readings: Reading[], gauge: Gauge): Reading[] {
  let newer = 0;
  return readings.toReversed().filter(({ of }) => {
    if (of.refused.counted === 0 || of[gauge].counted === 0 || newer >= MOST_ROWS) return false;
    newer += of[gauge].counted;
    return true;
  });
}

function sumOf(readings: Reading[], gauge: Gauge): [counted: number, seen: number] {
  const sum = (key: 'counted' | 'seen') => readings.reduce((all, { of }) => all + of[gauge][key], 0);
  return [sum('counted'), sum('seen')];
}

function isUsual(model: Model, run: number, share: number): boolean {
  const earlier = [...model.runs].filter(([id, { brakedBy }]) => id < run && brakedBy === null);
  const [counted, seen] = sumOf(
    earlier.flatMap(([, { readings }]) => readings),
    'unresolved',
  );
  return counted > 0 && share < seen / counted + ABOVE_USUAL;
}

/** Marks and quarantine of the rows counted become what they were; what anybody has changed since stays. */
function takeBack(model: Model, { settlement, at, met, of }: Reading, gauge: Gauge): void {
  const ids = [...new Set(of[gauge].ids)];
  const closed = model.close(
    (entry) =>
      entry.settlement === settlement &&
      ['invalid_verdict', 'writer_error'].includes(entry.outcome) &&
      (entry.library === null ? gauge === 'refused' : ids.includes(entry.library)),
  );
  const untouched = new Set(closed.map(({ library }) => library));
  for (const id of ids) {
    const isMine = model.marks.get(id)?.settlement === settlement;
    if (isMine) model.marks.delete(id);
    if ((isMine || gauge === 'changed') && model.questions.has(id)) model.questions.set(id, null);
    if (isMine || model.identities.get(id)?.verifiedAt === at) untouched.add(id);
    const before = met.marks.get(id);
    if (!before || !untouched.has(id) || model.marks.has(id)) continue;
    const { isIdentified: _, ...mark } = before;
    model.marks.set(id, mark);
  }
  for (const entry of met.closed) {
    const isOpen = model.quarantine.some(({ library }) => library === entry.library);
    if (ids.includes(entry.library!) && untouched.has(entry.library) && !isOpen) model.quarantine.push(entry);
  }
}
