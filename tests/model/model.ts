// The verdict table of the contract as a program without a database: what each call leaves in the tables, and what it
// reports. Written from the contract and apart from the SQL, so that the two can be held against each other. "Silent"
// marks what the contract leaves open and the model takes from the service.
import { type Report, reported } from '../support/report.js';
import type { Braking } from './brake.js';
import { isUnreadable, read } from './json.js';
import {
  type Content,
  type Fields,
  isBlank,
  isFields,
  isInteger,
  judge,
  type Leg,
  type Track,
  type Verdict,
} from './judge.js';

export const SERVICE = 'consumer:lml-bulk';
const DAY = 86_400_000;

/** What the database of this history refuses: a constraint of somebody else. */
export const REFUSED_DISCOGS_ID = 666;
export const REFUSED_EXTERNAL_ID = 'refused';

export interface Library {
  artist: string | null;
  title: string;
  isCanonical: boolean;
  letters: string | null;
}

export interface Identity extends Content {
  verifiedAt: number;
  notes: string | null;
  /** Stands for the columns of other writers. */
  discogs_release_id: number | null;
  agreement_sources: string | null;
}

export interface Source extends Omit<Leg, 'source'> {
  verifiedAt: number;
  notes: string | null;
  boost_sources: string | null;
}

export interface Credit {
  library: number;
  artist: string;
  title: string | null;
  position: string | null;
  artistId: number | null;
  confidence: number | null;
  method: string | null;
}

export interface Mark {
  outcome: string;
  at: number;
  settlement: number | null;
  /** When an operator last released or held the row: an answer given before is stale. */
  releasedAt: number | null;
}

export interface Entry {
  library: number | null;
  outcome: string;
  at: number;
  origin: string;
  strict: boolean;
  version: unknown;
  result: unknown;
  settlement: number;
  /** What the library was called when it was asked; null where that is not known. */
  question: string | null;
}

export interface Answer {
  /** The results as they were written; undefined where the text is no answer. */
  results: unknown[] | undefined;
  /** Whether the text around the results is one that jsonb takes. */
  version: unknown;
  requested: number[] | null;
  /** What the ids were asked by; null: by their present names. */
  asked: Map<number, string | null> | null;
  origin: string;
  at: number;
  strict: boolean;
  /** The libraries that it is limited to. */
  chosen?: number[];
}

/** What undoing reports. */
interface Undone extends Fields {
  identity: { removed: number; restored: number };
  source: { removed: number; restored: number };
  compilation_track: { restored: number };
  newer: number;
  held: number;
  marks_lifted: number;
  quarantine_closed: number;
}

type TrackCount = keyof Report['compilation_track'];

export interface Judged {
  id: number | null;
  outcome: string;
  verdict?: Verdict | undefined;
  result?: unknown;
  action?: 'inserted' | 'changed' | 'unchanged';
}

/** What an answer met, as the brake needs it. */
export interface Met {
  judged: Judged[];
  /** The marks that were there, and whether there was an identity beside them. */
  marks: Map<number, Mark & { isIdentified: boolean }>;
  /** What was asked by another name before. */
  renamed: number[];
  /** The entries of the quarantine that it closed. */
  closed: Entry[];
}

/** What one call of the writer wrote, as undoing it needs it. */
interface Settlement {
  id: number;
  at: number;
  identities: Map<number, Identity | null>;
  sources: Map<number, Map<string, Source | null>>;
  links: Map<number, Credit>;
  /** Where the history of a row that it changed has gone since. */
  mergedInto: Set<number>;
  /** The settlements that it takes back. */
  undoes: number[];
  met: Met;
}

export class Refused extends Error {
  constructor(readonly code: string) {
    super(code);
  }
}

export const isRepair = (text: string | null) => text?.startsWith('repair:') ?? false;
const isOurs = (notes: string | null) => notes === SERVICE || isRepair(notes);
const isSetByHand = ({ method, notes }: Identity) =>
  isRepair(notes) || (method === 'manual' && notes !== SERVICE);

const CONTENT = [
  ...['discogs_artist_id', 'musicbrainz_artist_id', 'wikidata_qid', 'spotify_id', 'apple_music_id'],
  ...['bandcamp_id', 'method', 'confidence'],
] as (keyof Content)[];

const REPLAYABLE = ['invalid_verdict', 'writer_error', 'poison_input'];
/** The outcomes of verdicts that were judged, and so can be stale. */
const JUDGED = [
  ...['resolved', 'resolved_compilation', 'unresolved', 'compilation', 'invalid_verdict', 'poison_input'],
];

export class Model {
  libraries = new Map<number, Library>();
  identities = new Map<number, Identity>();
  sources = new Map<number, Map<string, Source>>();
  credits = new Map<number, Credit>();
  /** How many history rows each library has, by category. */
  history = new Map<number, Record<string, number>>();
  /** What each history row holds, by library, the oldest first. */
  versions = new Map<number, Identity[]>();
  /** How many versions of its source rows are kept. */
  keptSources = new Map<number, number>();
  marks = new Map<number, Mark>();
  /** Open quarantine, the oldest first. */
  quarantine: Entry[] = [];
  /** What each library was called when an answer for it last counted; null where that was taken back. */
  questions = new Map<number, string | null>();
  /** Credits that a repair has linked, or taken a link from. */
  repaired = new Set<number>();
  settlements: Settlement[] = [];
  /** Which settlement, or none of ours (0), made each row what it is. */
  writers = new Map<string, number>();
  /** The last settlement before another writer touched a main row that we have not written or confirmed since. */
  touched = new Map<number, number>();
  /** What the brake has measured. What is in it never changes, but is replaced. */
  runs = new Map<number, Braking>();

  constructor(
    /** The present: each event that happens now is a moment after the last. */
    public now: number,
    readonly artists: Map<number, string>,
  ) {}

  tick(): number {
    return ++this.now;
  }

  // The rules about rows.

  questionOf(id: number): string | null {
    const library = this.libraries.get(id);
    return !library || isBlank(library.artist) ? null : JSON.stringify([id, library.artist, library.title]);
  }

  /** A time more than a minute ahead of the clock says nothing. */
  private isNewer(at: number | null | undefined, than: number): boolean {
    return at !== null && at !== undefined && at > than && at <= this.now + 60_000;
  }

  isCompilationShaped(id: number): boolean {
    return (this.libraries.get(id)?.letters ?? '').startsWith('Z') || this.creditsOf(id).length > 0;
  }

  creditsOf(id: number): [number, Credit][] {
    return [...this.credits].filter(([, credit]) => credit.library === id);
  }

  candidates(scope: 'due' | 'refresh' | 'recheck', staleDays = 7, retryDays = 30, all = false): number[] {
    const ids = [...this.libraries.keys()].sort((one, other) => one - other);
    return ids.filter((id) => {
      const library = this.libraries.get(id)!;
      const [identity, mark] = [this.identities.get(id), this.marks.get(id)];
      const isFresh = this.isNewer(identity?.verifiedAt, this.now - staleDays * DAY);
      if (isBlank(library.artist)) return false;
      if (scope === 'refresh') return library.isCanonical || (identity !== undefined && !isFresh);
      if (scope === 'recheck')
        return (
          this.isCompilationShaped(id) &&
          mark !== undefined &&
          !['manual_precedence', 'released', 'held'].includes(mark.outcome)
        );
      if (mark?.outcome === 'released') return true;
      const isRenamed = this.questions.has(id) && this.questions.get(id) !== this.questionOf(id);
      if (isRenamed) return true;
      if (!library.isCanonical && !identity && !all) return false;
      return !isFresh && !(mark && this.holds(mark, identity, staleDays, retryDays));
    });
  }

  /** Whether a mark keeps its row from being asked. */
  private holds(mark: Mark, identity: Identity | undefined, staleDays: number, retryDays: number): boolean {
    if (mark.outcome === 'held') return true;
    if (mark.outcome === 'manual_precedence' && !identity) return false;
    const isShort = ['manual_precedence', 'compilation_unread'].includes(mark.outcome);
    return this.isNewer(mark.at, this.now - (isShort ? staleDays : retryDays) * DAY);
  }

  // What a call of the writer does.

  apply(answer: Answer): Report {
    const { results, requested, origin, at, asked } = answer;
    if (!results && !requested) throw new Refused('LS003');
    if (at > this.now + 60_000) throw new Refused('LS001');
    if (origin !== SERVICE && !isRepair(origin)) throw new Refused('LS001');
    const settlement = this.beginSettlement(at);
    if (!results)
      return this.report(
        unique(requested!).map((id) => ({ id, outcome: 'lml_error' })),
        NO_SOURCES,
        {},
      );

    const judged = this.judge(answer).filter(
      ({ id }) => !answer.chosen || (id !== null && answer.chosen.includes(id)),
    );
    settlement.met = this.meet(judged, answer);
    if (!isRepair(origin)) for (const verdict of judged) this.markStale(verdict, at, asked);

    const sources = { ...NO_SOURCES };
    const tracks: Partial<Report['compilation_track']> = {};
    for (const verdict of judged) {
      if (verdict.outcome === 'resolved') this.writeIdentity(verdict, origin, at, settlement, sources);
      if (verdict.outcome === 'resolved_compilation')
        this.writeLinks(verdict, origin, at, settlement, tracks);
    }
    this.recordMarks(judged, origin, at, settlement);
    if (!isRepair(origin)) this.rememberQuestions(judged, requested ?? [], asked);
    this.recordQuarantine(judged, answer, settlement);
    return this.report(judged, sources, tracks);
  }

  /** An input that LML refuses, or fails on while it answers others. */
  poison(id: number, question: string | null, at: number, strict = false): Report {
    if (!this.libraries.has(id)) {
      this.beginSettlement(at);
      return this.report([{ id, outcome: 'library_gone' }], NO_SOURCES, {});
    }
    const judged: Judged = { id, outcome: 'poison_input' };
    this.markStale(judged, at, new Map([[id, question]]));
    const settlement = this.beginSettlement(at);
    const known = this.marks.get(id);
    const isKnownLater = this.quarantine.some(
      (entry) => entry.library === id && REPLAYABLE.includes(entry.outcome) && entry.at >= at,
    );
    if (judged.outcome === 'poison_input' && !isKnownLater) {
      // A refusal never replaces the mark of a release; that of a replay is replaced.
      const isReleased = known?.outcome === 'released' && known.releasedAt === known.at;
      if (!this.isNewer(known?.at, at) && !isReleased)
        this.marks.set(id, {
          ...{ outcome: 'poison_input', at, settlement: settlement.id },
          releasedAt: known?.releasedAt ?? null,
        });
      if (question !== null) this.questions.set(id, question);
      this.close(({ library }) => library === id);
      this.quarantine.push({
        ...{ library: id, outcome: 'poison_input', at, origin: SERVICE, strict },
        ...{ version: null, result: null, settlement: settlement.id, question },
      });
    }
    return this.report([judged], NO_SOURCES, {});
  }

  private meet(judged: Judged[], { requested, asked, origin }: Answer): Met {
    const met = judged.flatMap(({ id }): [number, Mark & { isIdentified: boolean }][] => {
      const mark = id === null ? undefined : this.marks.get(id);
      return mark ? [[id!, { ...mark, isIdentified: this.identities.has(id!) }]] : [];
    });
    const renamed = unique(isRepair(origin) ? [] : (requested ?? [])).filter((id) => {
      const [before, now] = [this.questions.get(id), asked ? asked.get(id) : this.questionOf(id)];
      return typeof before === 'string' && typeof now === 'string' && before !== now;
    });
    return { judged, marks: new Map(met), renamed, closed: [] };
  }

  private beginSettlement(at: number, undoes: number[] = []): Settlement {
    const settlement: Settlement = {
      id: this.settlements.length + 1,
      at,
      identities: new Map(),
      sources: new Map(),
      links: new Map(),
      mergedInto: new Set(),
      undoes,
      met: { judged: [], marks: new Map(), renamed: [], closed: [] },
    };
    this.settlements.push(settlement);
    return settlement;
  }

  /** The outcome of each result by the wire alone, and of each id for which none came. */
  private judge({ results, requested, strict, version }: Answer): Judged[] {
    const seen = new Set<number>();
    const judged = results!.map((result): Judged => {
      const isReadable = !isUnreadable(result);
      const content = read(result);
      const stated = isFields(content) ? content.library_id : null;
      // Silent: of a result that cannot be read as a whole, an id in quotes is taken for an id.
      const named =
        isReadable || typeof stated !== 'string' || !/^-?\d{1,10}(\.0+)?$/.test(stated)
          ? stated
          : Number(stated);
      const id = isInteger(named, -2147483648) ? named : null;
      const isRepeated = id !== null && seen.has(id);
      if (id !== null) seen.add(id);
      if (id === null) return { id, outcome: 'invalid_verdict', result };
      if (isRepeated || (requested && !requested.includes(id)))
        return { id, outcome: 'lml_untrusted_library_id', result };
      if (!this.libraries.has(id)) return { id, outcome: 'library_gone' };
      const verdict = isReadable ? judge(content, strict, version) : undefined;
      if (!verdict) return { id, outcome: 'invalid_verdict', result };
      const outcome =
        verdict.kind === 'single_artist'
          ? 'resolved'
          : verdict.tracks
            ? 'resolved_compilation'
            : verdict.kind;
      return { id, outcome, verdict, result };
    });
    const unanswered = unique(requested ?? []).filter((id) => !seen.has(id));
    return [
      ...judged,
      ...unanswered.map((id) => ({
        id,
        outcome: this.libraries.has(id) ? 'lml_cardinality_mismatch' : 'library_gone',
      })),
    ];
  }

  /** What of the service's answer is overtaken: by a new name, a release, a hold, or a newer identity. */
  private markStale(judged: Judged, at: number, asked: Answer['asked']): void {
    if (judged.id === null || !JUDGED.includes(judged.outcome)) return;
    const [mark, identity] = [this.marks.get(judged.id), this.identities.get(judged.id)];
    const question = asked?.get(judged.id) ?? null;
    const isWriting = ['resolved', 'resolved_compilation'].includes(judged.outcome);
    // Silent: which of these comes first.
    if (question !== null && question !== this.questionOf(judged.id)) judged.outcome = 'stale_verdict';
    else if (mark?.outcome === 'held') judged.outcome = 'manual_precedence';
    else if (this.isNewer(mark?.releasedAt, at)) judged.outcome = 'stale_verdict';
    else if (!isWriting && this.isNewer(identity?.verifiedAt, at)) judged.outcome = 'stale_verdict';
  }

  private writeIdentity(
    judged: Judged,
    origin: string,
    at: number,
    settlement: Settlement,
    counts: typeof NO_SOURCES,
  ): void {
    const id = judged.id!;
    const content = judged.verdict!.content!;
    const known = this.identities.get(id);
    if (known && !isRepair(origin)) {
      if (isSetByHand(known)) judged.outcome = 'manual_precedence';
      else if (this.isNewer(known.verifiedAt, at)) judged.outcome = 'stale_verdict';
      if (judged.outcome !== 'resolved') return;
    }
    const isDifferent = !known || CONTENT.some((column) => known[column] !== content[column]);
    // A repair over a row that is not set by hand yet always writes, and so holds.
    const isTaken = known && isRepair(origin) && !isSetByHand(known);
    const action = !known ? 'inserted' : isDifferent || isTaken ? 'changed' : 'unchanged';
    if (this.isRefused(judged.verdict!, action, id)) {
      judged.outcome = 'writer_error';
      return;
    }

    judged.action = action;
    this.touched.delete(id);
    if (action === 'unchanged') {
      // Silent: a repair that says the same, but is older, leaves the time as it is.
      if (!this.isNewer(known!.verifiedAt, at)) {
        known!.verifiedAt = at;
        // Silent: what is confirmed is again as the last call that wrote it left it, also where another writer moved its time.
        const writer = this.settlements.findLast(({ identities }) => identities.has(id));
        this.writers.set(`identity ${id}`, writer?.id ?? 0);
      }
    } else {
      if (known) this.archive(id, isRepair(origin) ? 'repair' : 'verdict');
      settlement.identities.set(id, known ? { ...known } : null);
      this.identities.set(id, {
        ...(known ?? { discogs_release_id: null, agreement_sources: null }),
        ...content,
        verifiedAt: at,
        notes: origin,
      });
      this.writers.set(`identity ${id}`, settlement.id);
    }
    this.writeSources(id, judged.verdict!.legs, origin, at, settlement, counts);
  }

  /** Whether the constraints of somebody else refuse what would be written. */
  private isRefused({ content, legs }: Verdict, action: string, id: number): boolean {
    const stored = this.sources.get(id);
    return (
      (action !== 'unchanged' && content!.discogs_artist_id === REFUSED_DISCOGS_ID) ||
      legs.some((leg) => leg.external_id === REFUSED_EXTERNAL_ID && !isSame(stored?.get(leg.source), leg))
    );
  }

  private writeSources(
    id: number,
    legs: Leg[],
    origin: string,
    at: number,
    settlement: Settlement,
    counts: typeof NO_SOURCES,
  ): void {
    const stored = this.sources.get(id) ?? new Map<string, Source>();
    this.sources.set(id, stored);
    const before = new Map<string, Source | null>();
    for (const { source, ...leg } of legs) {
      const known = stored.get(source);
      counts[!known ? 'inserted' : isSame(known, leg) ? 'unchanged' : 'changed']++;
      if (isSame(known, leg)) continue;
      before.set(source, known ? { ...known } : null);
      if (known) this.keepSource(id);
      stored.set(source, { boost_sources: null, ...known, ...leg, verifiedAt: at, notes: origin });
      this.writers.set(`source ${id} ${source}`, settlement.id);
    }
    for (const [source, known] of stored) {
      if (legs.some((leg) => leg.source === source) || !isOurs(known.notes)) continue;
      counts.removed++;
      this.keepSource(id);
      before.set(source, known);
      stored.delete(source);
      this.writers.set(`source ${id} ${source}`, settlement.id);
    }
    if (before.size > 0) settlement.sources.set(id, before);
  }

  private writeLinks(
    judged: Judged,
    origin: string,
    at: number,
    settlement: Settlement,
    counts: Partial<Report['compilation_track']>,
  ): void {
    const id = judged.id!;
    const mark = this.marks.get(id);
    const wasCompilation = ['compilation', 'compilation_unread'].includes(mark?.outcome ?? '');
    // Silent: the last answer that called the row a compilation overtakes an older one, too.
    const seen = [this.identities.get(id)?.verifiedAt, wasCompilation ? mark?.at : null];
    if (!isRepair(origin) && seen.some((time) => this.isNewer(time, at))) {
      judged.outcome = 'stale_verdict';
      return;
    }
    for (const track of judged.verdict!.tracks!) {
      const counted =
        track === 'unusable' ? [track] : this.writeLink(id, track, isRepair(origin), settlement);
      for (const name of counted) counts[name] = (counts[name] ?? 0) + 1;
    }
  }

  private writeLink(id: number, track: Track, isByHand: boolean, settlement: Settlement): TrackCount[] {
    const [creditId, credit] =
      this.creditsOf(id).find(([, { artist, title }]) => artist === track.artist && title === track.title) ??
      [];
    if (creditId === undefined || !credit) return ['no_cta_match'];
    const isLibrarians = credit.method === 'librarian';
    const isEmpty = credit.artistId === null && credit.confidence === null;
    // Silent: a repair corrects what a repair has linked, though it looks like a librarian's.
    if (isLibrarians && !(isByHand && this.repaired.has(creditId))) return ['librarian'];

    const put = (link: Partial<Credit>) => {
      settlement.links.set(creditId, { ...credit });
      Object.assign(credit, link);
      this.writers.set(`credit ${creditId}`, settlement.id);
      if (isByHand) this.repaired.add(creditId);
    };
    if (track.resolved === null) {
      if (credit.method !== 'lml_backfill' && !(isLibrarians && !isEmpty))
        return [isLibrarians ? 'librarian' : 'no_resolved_name'];
      put({ artistId: null, confidence: null, method: isByHand ? 'librarian' : null });
      return ['unlinked'];
    }

    const artists = [...this.artists].filter(([, name]) => fold(name) === fold(track.resolved!));
    const artistId = artists.length === 1 ? artists[0]![0] : null;
    const method = isByHand ? 'librarian' : 'lml_backfill';
    const isAmbiguous = credit.position === null && track.isAmbiguous;
    const offered = track.position !== null && [...track.position].length <= 20 ? track.position : null;
    const position = credit.position === null ? offered : null;
    const isUnchanged =
      credit.method === method &&
      credit.artistId === artistId &&
      credit.confidence === track.confidence &&
      position === null;
    // Silent: a link of a repair that says the same again is counted as a librarian's, and has no "of which".
    if (isUnchanged && isLibrarians) return ['librarian'];

    if (!isUnchanged)
      put({ artistId, confidence: track.confidence, method, position: position ?? credit.position });
    const counts: [TrackCount, boolean][] = [
      [isUnchanged ? 'unchanged' : 'written', true],
      ['no_catalog_artist', artistId === null],
      ['ambiguous_position', isAmbiguous],
      ['position_written', position !== null],
      ['confidence_out_of_range', track.isOutOfRange],
    ];
    return counts.filter(([, isSo]) => isSo).map(([name]) => name);
  }

  private recordMarks(judged: Judged[], origin: string, at: number, settlement: Settlement): void {
    const refused = ['invalid_verdict', 'writer_error'];
    for (const { id, outcome } of judged) {
      if (id === null) continue;
      const [known, identity] = [this.marks.get(id), this.identities.get(id)];
      // Silent: a mark newer than this answer stays, unless a repair overrides it.
      const isNewest = isRepair(origin) || !this.isNewer(known?.at, at);
      if (outcome === 'resolved' && isNewest) this.marks.delete(id);
      const leavesMark =
        ['unresolved', 'compilation', 'resolved_compilation'].includes(outcome) ||
        // An answer older than the identity that is there leaves neither mark nor quarantine.
        (outcome === 'manual_precedence' && identity && !this.isNewer(identity.verifiedAt, at)) ||
        (refused.includes(outcome) && !isRepair(origin) && known?.outcome !== 'released');
      if (!leavesMark || !isNewest || known?.outcome === 'held') continue;
      const wasLinked = this.creditsOf(id).some(
        ([, { method }]) => method !== null && method !== 'librarian',
      );
      const marked =
        outcome === 'resolved_compilation'
          ? 'compilation'
          : outcome === 'compilation' && wasLinked
            ? 'compilation_unread'
            : outcome;
      this.marks.set(id, {
        outcome: marked,
        at,
        settlement: settlement.id,
        releasedAt: known?.releasedAt ?? null,
      });
    }
  }

  /** Every answer is remembered with its question, unless it was none to this question. */
  private rememberQuestions(judged: Judged[], requested: number[], asked: Answer['asked']): void {
    const unanswered = ['stale_verdict', 'lml_cardinality_mismatch', 'library_gone'];
    for (const id of unique(requested)) {
      if (judged.some((verdict) => verdict.id === id && unanswered.includes(verdict.outcome))) continue;
      const question = asked ? (asked.get(id) ?? null) : this.questionOf(id);
      if (question !== null) this.questions.set(id, question);
    }
  }

  private recordQuarantine(judged: Judged[], answer: Answer, settlement: Settlement): void {
    const { origin, at, strict, version, asked } = answer;
    const { closed } = settlement.met;
    const settled = ['resolved', 'resolved_compilation', 'unresolved', 'compilation', 'library_gone'];
    for (const { id, outcome } of judged) {
      if (!settled.includes(outcome)) continue;
      closed.push(
        ...this.close((entry) => id !== null && entry.library === id && (entry.at <= at || isRepair(origin))),
      );
    }
    const refused = judged.filter(({ outcome }) =>
      ['invalid_verdict', 'writer_error', 'lml_untrusted_library_id'].includes(outcome),
    );
    const entries = refused.map(
      ({ id, outcome, result }): Entry => ({
        ...{ library: id, outcome, at, origin, strict, version, result },
        settlement: settlement.id,
        question:
          id === null || isRepair(origin) || !answer.requested?.includes(id)
            ? null
            : asked
              ? (asked.get(id) ?? null)
              : this.questionOf(id),
      }),
    );
    this.quarantine.push(...entries.filter(({ library }) => library === null));
    for (const id of unique(entries.flatMap(({ library }) => library ?? []))) {
      // The latest refusal is the open one; what was not asked closes nothing that can be replayed.
      const mine = entries.filter(({ library }) => library === id);
      const replayable = mine.filter(({ outcome }) => REPLAYABLE.includes(outcome));
      closed.push(
        ...this.close(
          (entry) => entry.library === id && (replayable.length > 0 || !REPLAYABLE.includes(entry.outcome)),
        ),
      );
      if (replayable.length > 0) this.quarantine.push(replayable.at(-1)!);
      else if (!this.quarantine.some(({ library }) => library === id)) this.quarantine.push(mine.at(-1)!);
    }
  }

  close(isClosed: (entry: Entry) => boolean): Entry[] {
    const closed = this.quarantine.filter(isClosed);
    this.quarantine = this.quarantine.filter((entry) => !closed.includes(entry));
    return closed;
  }

  private report(
    judged: Judged[],
    source: typeof NO_SOURCES,
    compilation_track: Partial<Report['compilation_track']>,
  ): Report {
    const counted = (outcome: string) => judged.filter((verdict) => verdict.outcome === outcome);
    const acted = (action: string) => judged.filter((verdict) => verdict.action === action).length;
    const written = counted('resolved').map(({ verdict }) => verdict!);
    const sum = (key: 'nullConfidence' | 'duplicates' | 'outOfBand' | 'unknown') =>
      written.reduce((all, verdict) => all + verdict[key], 0);
    const skipped = Object.keys(reported({}).rows_skipped);
    return reported({
      rows_resolved: written.length,
      rows_resolved_compilation: counted('resolved_compilation').length,
      rows_unresolved: counted('unresolved').length,
      rows_skipped: Object.fromEntries(skipped.map((outcome) => [outcome, counted(outcome).length])),
      source_rows_skipped_null_confidence: sum('nullConfidence'),
      source_rows_skipped_duplicate: sum('duplicates'),
      source_rows_out_of_band: sum('outOfBand'),
      source_rows_unknown: sum('unknown'),
      identity: { inserted: acted('inserted'), changed: acted('changed'), unchanged: acted('unchanged') },
      source,
      compilation_track,
    });
  }

  // What an operator does.

  private archive(id: number, category: string): void {
    const kept = this.history.get(id) ?? {};
    this.history.set(id, { ...kept, [category]: (kept[category] ?? 0) + 1 });
    this.versions.set(id, [...(this.versions.get(id) ?? []), { ...this.identities.get(id)! }]);
  }

  private keepSource(id: number): void {
    this.keptSources.set(id, (this.keptSources.get(id) ?? 0) + 1);
  }

  release(id: number): Fields {
    if (!this.libraries.has(id)) throw new Refused('LS002');
    const now = this.tick();
    const settlement = this.beginSettlement(now);
    const known = this.identities.get(id);
    const isShared = known && (known.discogs_release_id !== null || known.agreement_sources !== null);
    if (known) {
      this.archive(id, 'release');
      settlement.identities.set(id, { ...known });
      this.writers.set(`identity ${id}`, settlement.id);
      // Silent: what of another writer's row remains has no confidence, so that it does not count as resolved.
      if (isShared) Object.assign(known, { ...NO_IDS, confidence: 0, notes: SERVICE });
      else this.identities.delete(id);
    }
    const before = new Map<string, Source | null>();
    for (const [source, stored] of this.sources.get(id) ?? []) {
      if (!isOurs(stored.notes)) continue;
      before.set(source, stored);
      this.keepSource(id);
      this.sources.get(id)!.delete(source);
      this.writers.set(`source ${id} ${source}`, settlement.id);
    }
    if (before.size > 0) settlement.sources.set(id, before);
    this.marks.set(id, {
      ...{ outcome: 'released', at: now, settlement: settlement.id },
      releasedAt: now,
    });
    return {
      library_id: id,
      identity: !known ? 'none' : isShared ? 'emptied' : 'removed',
      sources_removed: before.size,
    };
  }

  hold(id: number, by: string): Fields {
    if (!this.libraries.has(id)) throw new Refused('LS002');
    const now = this.tick();
    const settlement = this.beginSettlement(now);
    const known = this.identities.get(id);
    if (known) {
      this.archive(id, 'hold');
      settlement.identities.set(id, { ...known });
      known.notes = by;
      this.writers.set(`identity ${id}`, settlement.id);
    } else {
      this.marks.set(id, {
        ...{ outcome: 'held', at: now, settlement: settlement.id },
        releasedAt: now,
      });
    }
    return { library_id: id, identity: known ? 'held' : 'none' };
  }

  dismiss(entry: Entry): void {
    this.close((open) => open === entry);
    const mark = entry.library === null ? undefined : this.marks.get(entry.library);
    if (mark?.settlement === entry.settlement && mark.outcome === entry.outcome)
      this.marks.delete(entry.library!);
  }

  /** Judges again what is open, each entry with its own origin, question and time. */
  replay(ids: number[] | null): Fields {
    const reached = this.quarantine.filter(
      ({ library }) => !ids || (library !== null && ids.includes(library)),
    );
    const entries = reached.filter(({ outcome }) => REPLAYABLE.includes(outcome));
    const poisoned = entries.filter(({ outcome }) => outcome === 'poison_input');
    for (const { library } of poisoned) {
      const known = this.marks.get(library!);
      this.marks.set(library!, {
        ...{ outcome: 'released', at: this.tick(), settlement: known?.settlement ?? null },
        releasedAt: known?.releasedAt ?? null,
      });
    }
    const again = entries
      .filter((entry) => !poisoned.includes(entry))
      .sort((one, other) => one.at - other.at);
    // Silent: where it is not known what was asked, the last question that is known counts.
    const reports = again.map((entry) => {
      this.close((open) => open === entry);
      const { library, result, version, origin, at, strict, question } = entry;
      return this.apply({
        ...{ results: [result], version, origin, at, strict },
        requested: library === null ? null : [library],
        asked:
          library === null ? null : new Map([[library, question ?? this.questions.get(library) ?? null]]),
      });
    });
    return {
      ...add(reports),
      replayed: again.length,
      made_due: poisoned.length,
      never_replayed: reached.length - entries.length,
    };
  }

  /** Makes what a call of the writer wrote what it was before. */
  undo(numbers: number[], ids: number[] | null): Fields {
    const undo: Undone = {
      identity: { removed: 0, restored: 0 },
      source: { removed: 0, restored: 0 },
      compilation_track: { restored: 0 },
      newer: 0,
      held: 0,
      marks_lifted: 0,
      quarantine_closed: 0,
    };
    const isChosen = (id: number | null) => !ids || (id !== null && ids.includes(id));
    const settlements = this.settlements.filter(({ id }) => numbers.includes(id));
    for (const [id, mark] of this.marks) {
      if (!numbers.includes(mark.settlement ?? 0) || !isChosen(id)) continue;
      this.marks.delete(id);
      this.askAgain(id);
      undo.marks_lifted++;
    }
    const isTaken = ({ settlement, library }: Entry) => numbers.includes(settlement) && isChosen(library);
    undo.quarantine_closed = this.quarantine.filter(isTaken).length;
    this.close(isTaken);
    for (const settlement of settlements) this.undoSettlement(settlement, numbers, isChosen, undo);
    return undo;
  }

  private undoSettlement(
    settlement: Settlement,
    run: number[],
    isChosen: (id: number) => boolean,
    undo: Undone,
  ): void {
    const by = this.beginSettlement(settlement.at, run);
    const isMine = (row: string) => this.writers.get(row) === settlement.id;
    // Undoing twice changes nothing.
    const isUndoneBefore = (writer: number | undefined) =>
      this.settlements.some(
        ({ id, undoes }) => id === writer && id !== by.id && undoes.includes(settlement.id),
      );
    const { identities, sources: changed, mergedInto } = settlement;
    for (const id of unique([...identities.keys(), ...changed.keys(), ...mergedInto])) {
      if (!isChosen(id) || isUndoneBefore(this.writerOf(id))) continue;
      const before = settlement.identities.get(id);
      // Silent: a source of a new identity that another writer has made its own since stays, and keeps nothing back.
      const isTheirs = (source: string) => !isOurs(this.sources.get(id)?.get(source)?.notes ?? SERVICE);
      const sources = new Map(
        [...(settlement.sources.get(id) ?? [])].filter(
          ([source, was]) => before !== null || was || !isTheirs(source),
        ),
      );
      const known = this.identities.get(id);
      const isUntouched =
        // Silent: sources stay, too, where another writer has touched the main row since.
        (before === undefined
          ? known !== undefined && (this.touched.get(id) ?? 0) < settlement.id
          : isMine(`identity ${id}`)) &&
        [...sources.keys()].every((source) => isMine(`source ${id} ${source}`)) &&
        !mergedInto.has(id) &&
        // Silent: nor may another call have written any other source of the library.
        this.isLastToWrite(run, id) &&
        this.libraries.has(id);
      // What another writer has put into a new row since would go with it.
      const isShared =
        before === null && (known?.discogs_release_id ?? known?.agreement_sources ?? null) !== null;
      if (!isUntouched || isShared) {
        undo[known && isSetByHand(known) ? 'held' : 'newer']++;
        continue;
      }
      if (before !== undefined) {
        if (known) this.archive(id, 'undo');
        by.identities.set(id, known ? { ...known } : null);
        if (before) this.identities.set(id, { ...(known ?? before), ...ours(before) });
        else this.identities.delete(id);
        undo.identity[before ? 'restored' : 'removed']++;
        this.writers.set(`identity ${id}`, by.id);
      }
      this.undoSources(id, sources, by, undo);
      this.askAgain(id);
    }
    for (const [creditId, before] of settlement.links) {
      const credit = this.credits.get(creditId);
      if (!credit || !isChosen(credit.library)) continue;
      if (isUndoneBefore(this.writers.get(`credit ${creditId}`))) continue;
      // A hold keeps the row as it is, by whatever hand it became so.
      const isHeld = this.marks.get(credit.library)?.outcome === 'held';
      if (isHeld || !isMine(`credit ${creditId}`)) {
        undo[isHeld || credit.method === 'librarian' ? 'held' : 'newer']++;
        continue;
      }
      by.links.set(creditId, { ...credit });
      Object.assign(credit, before);
      undo.compilation_track.restored++;
      this.writers.set(`credit ${creditId}`, by.id);
      this.askAgain(credit.library);
    }
  }

  private undoSources(id: number, sources: Map<string, Source | null>, by: Settlement, undo: Undone): void {
    const stored = this.sources.get(id) ?? new Map<string, Source>();
    this.sources.set(id, stored);
    const before = new Map<string, Source | null>();
    for (const [source, was] of sources) {
      const known = stored.get(source) ?? null;
      undo.source[was ? 'restored' : 'removed']++;
      before.set(source, known);
      if (known) this.keepSource(id);
      if (was) stored.set(source, { ...was });
      else stored.delete(source);
      this.writers.set(`source ${id} ${source}`, by.id);
    }
    if (before.size > 0) by.sources.set(id, before);
  }

  /** What was taken back is due. Silent: of a row that is due anyway nothing is remembered. */
  private askAgain(id: number): void {
    if (!this.libraries.has(id)) return;
    const isDueAnyway =
      this.libraries.get(id)!.isCanonical && !this.identities.has(id) && !this.marks.has(id);
    if (!isDueAnyway) this.questions.set(id, null);
  }

  /** Whether a run, or the undo of it that is under way, wrote a library last. */
  private isLastToWrite(run: number[], id: number): boolean {
    const last = this.settlements[this.writerOf(id)! - 1]!;
    return run.includes(last.id) || last.undoes === run;
  }

  /** The last of our settlements that wrote a library's identity or sources. */
  private writerOf(id: number): number | undefined {
    return this.settlements.findLast(({ identities, sources }) => identities.has(id) || sources.has(id))?.id;
  }

  // What the station's backend and other writers do, and the daily upkeep.

  touch(id: number): void {
    this.writers.set(`identity ${id}`, 0);
    this.touched.set(id, this.settlements.length);
  }

  deleteLibrary(id: number): void {
    this.libraries.delete(id);
    this.identities.delete(id);
    this.sources.delete(id);
    this.writers.delete(`identity ${id}`);
    for (const [creditId] of this.creditsOf(id)) this.credits.delete(creditId);
  }

  /**
   * The backend's job repoints identity, sources and history, where the survivor has none, and deletes the loser. What it
   * has moved, where it did not see all that is there.
   */
  merge(loser: number, survivor: number, moved?: { isIdentity: boolean; sources: string[] }): void {
    const identity = this.identities.get(loser);
    const isMoved = moved?.isIdentity ?? !this.identities.has(survivor);
    if (isMoved) {
      if (identity) this.identities.set(survivor, identity);
      this.writers.set(`identity ${survivor}`, 0);
    }
    const stored = this.sources.get(survivor) ?? new Map<string, Source>();
    for (const [source, row] of this.sources.get(loser) ?? []) {
      if (!(moved ? moved.sources.includes(source) : isMoved && !stored.has(source))) continue;
      stored.set(source, row);
      this.writers.set(`source ${survivor} ${source}`, 0);
    }
    if (stored.size > 0) this.sources.set(survivor, stored);
    // Silent: what a call wrote to the loser is told by its history, which goes along, but says nothing of the survivor.
    this.settlements = this.settlements.map((settlement) => {
      const wasMerged = settlement.mergedInto.has(loser);
      if (!settlement.identities.get(loser) && !wasMerged) return settlement;
      const [identities, mergedInto] = [new Map(settlement.identities), new Set(settlement.mergedInto)];
      if (identities.get(loser)) identities.delete(loser);
      mergedInto.delete(loser);
      if (!identities.has(survivor)) mergedInto.add(survivor);
      return { ...settlement, identities, mergedInto };
    });
    for (const [category, rows] of Object.entries(this.history.get(loser) ?? {})) {
      const kept = this.history.get(survivor) ?? {};
      this.history.set(survivor, { ...kept, [category]: (kept[category] ?? 0) + rows });
    }
    this.history.delete(loser);
    const versions = this.versions.get(loser);
    if (versions) this.versions.set(survivor, [...(this.versions.get(survivor) ?? []), ...versions]);
    this.versions.delete(loser);
    this.deleteLibrary(loser);
  }

  prune(): void {
    const isGone = (id: number | null) => id !== null && !this.libraries.has(id);
    this.close(({ library }) => isGone(library));
    for (const id of this.marks.keys()) if (isGone(id)) this.marks.delete(id);
    for (const id of this.questions.keys()) if (isGone(id)) this.questions.delete(id);
  }
}

const NO_SOURCES = { inserted: 0, changed: 0, unchanged: 0, removed: 0 };
const NO_IDS = {
  ...{ discogs_artist_id: null, musicbrainz_artist_id: null, wikidata_qid: null },
  ...{ spotify_id: null, apple_music_id: null, bandcamp_id: null },
};

const unique = <Value>(values: Value[]): Value[] => [...new Set(values)];

const isSame = (known: Source | undefined, leg: Omit<Leg, 'source'>) =>
  known !== undefined &&
  known.external_id === leg.external_id &&
  known.method === leg.method &&
  known.confidence === leg.confidence;

/** What of a main row is ours to bring back. */
const ours = ({ discogs_release_id: _, agreement_sources: __, ...row }: Identity) => row;

/** One name in its several spellings, as the station folds it. */
const fold = (name: string) =>
  name
    .normalize('NFD')
    .replace(/[\u0300-\u036f]/g, '')
    .toLowerCase();

/** The sum of reports. */
export function add(reports: Report[]): Report {
  const sum = (one: unknown, other: unknown): unknown =>
    typeof one === 'number'
      ? one + (other as number)
      : Object.fromEntries(
          Object.entries(one as Fields).map(([key, value]) => [key, sum(value, (other as Fields)[key])]),
        );
  return reports.reduce((all, report) => sum(all, report) as Report, reported({}));
}
