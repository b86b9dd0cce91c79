// Drives the database and the model with one history, and holds the two against each other after every step. Each
// history is a transaction that is rolled back, and each of its steps a savepoint, so that thousands share a database.
import type postgres from 'postgres';
import { expect } from 'vitest';
import { type Report, reported } from '../support/report.js';
import { resultsOf, textOf } from './answers.js';
import type { AnswerStep, Fate, Step } from './histories.js';
import { IDS } from './histories.js';
import { read } from './json.js';
import type { Fields } from './judge.js';
import {
  type Answer,
  add,
  type Credit,
  type Identity,
  Model,
  REFUSED_DISCOGS_ID,
  REFUSED_EXTERNAL_ID,
  Refused,
  SERVICE,
} from './model.js';
import { byLibrary, expectedTables, storedTables } from './tables.js';

const DAY = 86_400_000;

const ARTISTS: [number, string][] = [
  [1, 'Unnamed'],
  [2, 'Thom Yorke'],
  [3, 'Björk'],
  [4, 'Twin'],
  [5, 'TWIN'],
];

const LIBRARIES = [
  { artist: 'Ani DiFranco', title: 'Dilate', isCanonical: true, letters: null },
  { artist: 'Miriam Makeba', title: 'Sangoma', isCanonical: false, letters: null },
  { artist: 'Various', title: 'Blues', isCanonical: false, letters: 'ZA' },
  { artist: 'Various Artists', title: 'Rock', isCanonical: true, letters: null },
];

const NO_LINK = { position: null, artistId: null, confidence: null, method: null };
const CREDITS: Credit[] = [
  { library: 4, artist: 'Ani DiFranco', title: null, ...NO_LINK },
  { library: 4, artist: 'Thom Yorke', title: 'Analyse', ...NO_LINK },
  {
    library: 4,
    artist: 'Björk',
    title: 'Jóga',
    ...NO_LINK,
    position: 'B1',
    artistId: 3,
    method: 'librarian',
  },
];

/** Puts on the shelf what every history begins with, and constraints of somebody else. */
export async function shelve(sql: postgres.Sql): Promise<void> {
  await sql`insert into wxyc_schema.artists ${sql(ARTISTS.map(([id, artist_name]) => ({ id, artist_name })))}`;
  for (const [index, library] of LIBRARIES.entries()) await shelveOne(sql, index + 1, library);
  for (const [index, credit] of CREDITS.entries()) {
    await sql`
      insert into wxyc_schema.compilation_track_artist ${sql({
        id: index + 1,
        library_id: credit.library,
        artist_name: credit.artist,
        track_title: credit.title,
        track_position: credit.position,
        track_artist_id: credit.artistId,
        track_artist_link_method: credit.method,
      })}`;
  }
  await sql.unsafe(`
    alter table wxyc_schema.library_identity add check (discogs_artist_id <> ${REFUSED_DISCOGS_ID});
    alter table wxyc_schema.library_identity_source add check (external_id <> '${REFUSED_EXTERNAL_ID}');`);
}

const shelveOne = (sql: postgres.ISql, id: number, library: (typeof LIBRARIES)[number]) =>
  sql`
    insert into wxyc_schema.library ${sql({
      id,
      artist_id: 1,
      artist_name: library.artist,
      album_title: library.title,
      code_volume_letters: library.letters,
      canonical_entity_id: library.isCanonical ? 'artist:1' : null,
      legacy_release_id: id,
    })}`;

/** How often each figure of a report was more than nothing, over all histories. */
export const seen = new Map<string, number>();

function see(report: unknown, path = ''): void {
  if (typeof report === 'number' && report > 0) seen.set(path, (seen.get(path) ?? 0) + 1);
  if (typeof report === 'object' && report !== null)
    for (const [key, value] of Object.entries(report)) see(value, path ? `${path}.${key}` : key);
}

/** Thrown to undo a history once it is over. */
class Over extends Error {}

/** Runs a history on both sides. */
export async function runHistory(sql: postgres.Sql, history: Step[]): Promise<void> {
  await sql
    .begin(async (tx) => {
      const both = new Both(tx, Date.now());
      for (const step of history) await both.take(step);
      throw new Over();
    })
    .catch((error) => {
      if (!(error instanceof Over)) throw error;
    });
}

class Both {
  private readonly model: Model;
  private readonly ask = new Map<number, string | null>();
  private isAsked = false;
  private last: AnswerStep | undefined;
  private readonly previews: { run: string; apply(): Report }[] = [];
  /** The runs so far, each with the settlements that the model counts for it. */
  private readonly runs: { id: string; settlements: number[] }[] = [];

  constructor(
    private readonly tx: postgres.TransactionSql,
    private readonly began: number,
  ) {
    // The steps of a history take no time in the model, and some in the database.
    this.model = new Model(began + 20_000, new Map(ARTISTS));
    for (const [index, library] of LIBRARIES.entries()) this.model.libraries.set(index + 1, { ...library });
    for (const [index, credit] of CREDITS.entries()) this.model.credits.set(index + 1, { ...credit });
  }

  /** Takes one step on both sides. */
  async take(step: Step): Promise<void> {
    await this.step(step);
    await this.compare(step);
  }

  private async step(step: Step): Promise<void> {
    const { model, tx } = this;
    switch (step.kind) {
      case 'answer':
        return this.answer(step);
      case 'again':
        return this.last && this.answer({ ...this.last, daysAgo: step.daysAgo, origin: step.origin });
      case 'cut': {
        const places = [...new Set(step.at)].sort((one, other) => one - other);
        const cuts = [0, ...places, step.answer.results.length];
        for (const [index, from] of cuts.slice(0, -1).entries()) {
          const results = step.answer.results.slice(from, cuts[index + 1]);
          const ids = results.map((result) => (read(result) as Fields | null)?.library_id);
          const requested = ids.filter((id): id is number => IDS.includes(id as number));
          await this.answer({ ...step.answer, results, requested });
        }
        return;
      }
      case 'lost':
        await tx
          .savepoint(async (inner) => {
            await this.call(inner, step.answer, this.asked(step.answer));
            throw new Over();
          })
          .catch(() => {});
        return;
      case 'run':
        return this.run(step);
      case 'preview': {
        const preview = this.previews[step.number % this.previews.length];
        if (!preview) return;
        return this.same(
          () => preview.apply(),
          (inner) => inner`select identity_sync.apply_identity_preview(${preview.run}::bigint) as result`,
        );
      }
      case 'ask':
        for (const id of IDS) this.ask.set(id, model.questionOf(id));
        this.isAsked = true;
        return;
      case 'release':
        return this.same(
          () => model.release(step.id),
          (inner) => inner`select identity_sync.release_identity(${step.id}, 'why') as result`,
        );
      case 'hold':
        return this.same(
          () => model.hold(step.id, 'repair:postgres'),
          (inner) => inner`select identity_sync.hold_identity(${step.id}, 'why') as result`,
        );
      case 'dismiss':
        return this.dismiss(step.entry);
      case 'replay':
        return this.same(
          () => model.replay(step.ids),
          (inner) =>
            inner`select identity_sync.replay_quarantined_verdicts(ids => ${step.ids}::integer[]) as result`,
        );
      case 'undo':
        return this.undo(step.run, step.ids);
      case 'rename': {
        if (!model.libraries.has(step.id)) return;
        Object.assign(model.libraries.get(step.id)!, { artist: step.artist, title: step.title });
        await tx`
          update wxyc_schema.library set artist_name = ${step.artist}, album_title = ${step.title}
          where id = ${step.id}`;
        return;
      }
      case 'delete':
        model.deleteLibrary(step.id);
        return this.deleteLibrary(step.id);
      case 'restore': {
        if (model.libraries.has(step.id)) return;
        model.libraries.set(step.id, { ...LIBRARIES[step.id - 1]! });
        await shelveOne(tx, step.id, LIBRARIES[step.id - 1]!);
        return;
      }
      case 'merge': {
        const { loser, survivor } = step;
        if (loser === survivor || !model.libraries.has(loser) || !model.libraries.has(survivor)) return;
        const isSpare = !model.identities.has(survivor);
        model.merge(loser, survivor);
        if (isSpare) {
          await tx`
            update wxyc_schema.library_identity set library_id = ${survivor} where library_id = ${loser}`;
          await tx`
            update wxyc_schema.library_identity_source as source set library_id = ${survivor}
            where library_id = ${loser} and not exists (
              select from wxyc_schema.library_identity_source as other
              where other.library_id = ${survivor} and other.source = source.source)`;
        }
        await tx`
          update wxyc_schema.library_identity_history set library_id = ${survivor} where library_id = ${loser}`;
        return this.deleteLibrary(loser);
      }
      case 'other':
        // Another writer is another transaction, which is how an undo tells its rows from ours.
        await tx.savepoint((inner) => this.otherWriter(inner, step.id, step.what));
        return;
      case 'prune':
        model.prune();
        await tx`select identity_sync.prune_identity_sync(30)`;
    }
  }

  private async deleteLibrary(id: number): Promise<void> {
    await this.tx`delete from wxyc_schema.library_identity_source where library_id = ${id}`;
    await this.tx`delete from wxyc_schema.library_identity where library_id = ${id}`;
    await this.tx`delete from wxyc_schema.library where id = ${id}`;
  }

  // Calls of the service, each compared with what the model returns.

  private asked(step: AnswerStep): Answer['asked'] {
    return step.isLate && step.requested && this.isAsked && step.origin === SERVICE
      ? new Map(this.ask)
      : null;
  }

  private async answer(step: AnswerStep): Promise<void> {
    this.last = step;
    const asked = this.asked(step);
    const results = resultsOf(step);
    const requested = step.requested?.filter((id) => id !== null) ?? null;
    const { origin, strict } = step;
    await this.same(
      () =>
        this.model.apply({
          ...{ results, requested, asked, origin, strict },
          version: step.shape === 'whole' ? read(step.version) : undefined,
          at: this.began - Math.round(step.daysAgo * DAY),
        }),
      (inner) => this.call(inner, step, asked),
    );
  }

  private call(inner: postgres.ISql, step: AnswerStep, asked: Answer['asked']) {
    const questions = asked && step.requested?.map((id) => (id === null ? null : (asked.get(id) ?? null)));
    const at = new Date(this.began - Math.round(step.daysAgo * DAY)).toISOString();
    return inner`
      select identity_sync.apply_identity_response(
        body => ${textOf(step)},
        requested => ${step.requested}::integer[],
        origin => ${step.origin},
        verified_at => ${at}::text::timestamptz,
        strict_bands => ${step.strict},
        asked_as => ${
          questions
            ? inner`array(
                select identity_sync_private.fingerprint((question ->> 0)::integer, question ->> 1, question ->> 2)
                from unnest(${questions}::text[]::jsonb[]) with ordinality as listed (question, place)
                order by place)`
            : null
        }
      ) as result`;
  }

  /** A run from its plan to its end, each of whose calls ends as its fate says. */
  private async run({ scope, size, isDry, fates }: Extract<Step, { kind: 'run' }>): Promise<void> {
    const { model, tx } = this;
    const settlements: number[] = [];
    /** Counts what a call of the writer makes for this run, and not for what happens meanwhile. */
    const previewed: (() => Report)[] = [];
    const count = (settle: (at: number) => Report) => {
      const at = model.tick();
      if (isDry) return previewed.push(() => settle(at));
      const before = model.settlements.length;
      reports.push(settle(at));
      return settlements.push(...model.settlements.slice(before).map((settlement) => settlement.id));
    };
    const [{ run }] = await tx<[{ run: string }]>`
      select identity_sync.plan_identity_run(
        scope => ${scope}, ids => ${scope === 'ids' ? IDS : null}::integer[],
        batch_size => ${size}, va_batch_size => ${size}, dry_run => ${isDry}) as run`;
    const [{ planned }] = await tx<[{ planned: number[] }]>`
      select array(
        select unnest(library_ids) as id from identity_sync.batch where run_id = ${run} order by id) as planned`;
    const named = IDS.filter((id) => model.questionOf(id) !== null);
    expect(planned).toEqual(scope === 'ids' ? named : model.candidates('due'));

    const reports: Report[] = [];
    const closed = new Set<string>();
    const answeredParts = new Set<string>();
    const closeEmpty = async () => {
      const empty = await tx<{ batch_id: string; planned: number[] }[]>`
        select batch_id, library_ids as planned from identity_sync.batch where run_id = ${run} and state = 'empty'`;
      for (const { batch_id, planned: ids } of empty) {
        if (closed.has(batch_id)) continue;
        closed.add(batch_id);
        const gone = ids.filter((library) => !model.libraries.has(library));
        count((at) => this.settle([], gone, new Map(), at));
      }
    };
    for (let turn = 0; turn < 30; turn++) {
      const [claimed] = await tx<{ id: string; ids: number[]; root: string | null }[]>`
        select batch.batch_id as id, batch.library_ids as ids, batch.root_batch_id as root
        from identity_sync.claim_identity_batch(${run}::bigint, 'lane', 32, 600000) as claimed
        join identity_sync.batch on batch.batch_id = claimed.batch_id`;
      await closeEmpty();
      if (!claimed) break;
      const { id, ids, root } = claimed;
      const asked = new Map(ids.map((library) => [library, model.questionOf(library)]));
      const { came, meanwhile } = fates[turn] ?? { came: NOTHING, meanwhile: null };
      if (meanwhile) await this.step(meanwhile);

      const [{ outcome }] = await this.finish(id, came);
      const results = typeof came === 'object' ? resultsOf(came) : undefined;
      expect(outcome).toBe(fateOf(came, results, ids, root, answeredParts));
      if (outcome === 'lost') await tx`select identity_sync.return_identity_batch(${id}, 'lane')`;
      if (outcome === 'failed') {
        const there = ids.filter((library) => model.libraries.has(library)).length;
        reports.push(reported({ rows_skipped: { lml_error: there, library_gone: ids.length - there } }));
      }
      if (outcome === 'poison_input') {
        if (model.libraries.has(ids[0]!)) count((at) => model.poison(ids[0]!, asked.get(ids[0]!)!, at));
        else await closeEmpty();
      }
      if (outcome === 'applied') {
        answeredParts.add(root ?? '');
        const requested = ids.filter(
          (library) => asked.get(library) !== null || !model.libraries.has(library),
        );
        const version =
          (came as AnswerStep).shape === 'whole' ? read((came as AnswerStep).version) : undefined;
        count((at) => this.settle(results!, requested, asked, at, version));
      }
    }
    await tx`
      select identity_sync.stop_identity_run(run_id, 'over') from identity_sync.run where finished_at is null`;
    if (isDry) {
      const isEmpty = previewed.length === 0 && planned.length > 0;
      this.previews.push({
        run,
        apply() {
          if (isEmpty) throw new Refused('LS004');
          return add(previewed.map((settle) => settle()));
        },
      });
      return;
    }
    const [{ report }] = await tx<[{ report: Report }]>`
      select identity_sync.identity_run_report(${run}::bigint) as report`;
    expect(report).toMatchObject(add(reports));
    this.runs.push({ id: run, settlements });
  }

  private settle(
    results: unknown[],
    requested: number[],
    asked: Answer['asked'],
    at: number,
    version?: unknown,
  ): Report {
    return this.model.apply({ results, requested, asked, version, origin: SERVICE, at, strict: false });
  }

  private finish(id: string, came: Fate['came']) {
    return this.tx<[{ outcome: string }]>`
      select outcome from identity_sync.finish_identity_call(
        batch_id => ${id}, leased_by => ${came === 'lost' ? 'another lane' : 'lane'},
        http_status => ${typeof came === 'number' ? came : 200},
        body => ${typeof came === 'object' ? textOf(came) : null},
        failure => null, latency_ms => 1, max_tries => 1)`;
  }

  private async dismiss(number: number): Promise<void> {
    const open = this.model.quarantine.toSorted(byLibrary);
    const entry = open[number % open.length];
    if (!entry || entry.library === null) return;
    this.model.dismiss(entry);
    await this.tx`
      select identity_sync.dismiss_quarantined_verdict(quarantine_id, 'why')
      from identity_sync.quarantine where library_id = ${entry.library}`;
  }

  private async undo(number: number, ids: number[] | null): Promise<void> {
    const run = this.runs[number % this.runs.length];
    if (!run) return;
    await this.same(
      () => this.model.undo(run.settlements, ids),
      async (inner) => {
        const [row] =
          await inner`select identity_sync.undo_identity_run(${run.id}, ${ids}::integer[]) as result`;
        const { run_id: _, of_run_id: __, ...result } = row!.result;
        return [{ result }];
      },
    );
  }

  /** Takes a step on both sides, and holds what they return, or the SQLSTATE that they raise, against each other. */
  private async same(
    ofModel: () => object,
    ofDatabase: (inner: postgres.ISql) => PromiseLike<Iterable<unknown>>,
  ): Promise<void> {
    const before = this.model.settlements.length;
    let expected: unknown;
    try {
      expected = ofModel();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      expected = error.code;
    }
    const actual = await this.tx
      .savepoint(async (inner) => {
        const [row] = [...(await ofDatabase(inner))] as { result: unknown }[];
        return row!.result;
      })
      .catch((error: { code?: string }) => error.code ?? error);
    expect(actual).toEqual(expected);
    see(expected);
    if (typeof expected === 'string') return;
    const [run] = await this.tx<[{ id: string }]>`select max(run_id) as id from identity_sync.run`;
    const settlements = this.model.settlements.slice(before).map(({ id }) => id);
    this.runs.push({ id: run.id, settlements });
  }

  private async otherWriter(tx: postgres.TransactionSql, id: number, what: string): Promise<void> {
    const { model } = this;
    if (!model.libraries.has(id)) return;
    const known = model.identities.get(id);
    const change = async (columns: Partial<Identity>) => {
      if (!known) return;
      Object.assign(known, columns);
      model.touch(id);
      const { verifiedAt, ...others } = columns;
      const row =
        verifiedAt === undefined
          ? others
          : { ...others, last_verified_at: new Date(verifiedAt).toISOString() };
      await tx`update wxyc_schema.library_identity set ${tx(row as Fields)} where library_id = ${id}`;
    };
    switch (what) {
      case 'manual':
        return change({ method: 'manual', confidence: 1, notes: null });
      case 'release id':
        return change({ discogs_release_id: 77 });
      case 'agreement':
        return change({ agreement_sources: 'discogs,spotify' });
      case 'ahead':
        return change({ verifiedAt: this.began + 10 * DAY });
      case 'identity': {
        if (known) return;
        const verifiedAt = this.began - DAY;
        const ids = { discogs_artist_id: 5, musicbrainz_artist_id: null, wikidata_qid: null };
        const others = { spotify_id: null, apple_music_id: null, bandcamp_id: null };
        const written = { ...ids, ...others, method: 'exact_match', confidence: 1, notes: null };
        const theirs = { discogs_release_id: 78, agreement_sources: null };
        model.identities.set(id, { ...written, ...theirs, verifiedAt });
        model.touch(id);
        const at = new Date(verifiedAt).toISOString();
        await tx`
          insert into wxyc_schema.library_identity
          ${tx({ library_id: id, ...written, ...theirs, last_verified_at: at })}`;
        return;
      }
      case 'source': {
        const verifiedAt = this.began - DAY;
        const row = {
          external_id: 'theirs',
          method: 'exact_match',
          confidence: 1,
          notes: 'etl',
          boost_sources: 'x',
        };
        const stored = model.sources.get(id) ?? new Map();
        model.sources.set(id, stored.set('discogs', { ...row, verifiedAt }));
        model.writers.set(`source ${id} discogs`, 0);
        const at = new Date(verifiedAt).toISOString();
        await tx`
          insert into wxyc_schema.library_identity_source
          ${tx({ library_id: id, source: 'discogs', ...row, last_verified_at: at })}
          on conflict (library_id, source) do update
          set ${tx({ ...row, last_verified_at: at })}`;
        return;
      }
      case 'link': {
        const credit = model.credits.get(2);
        if (!credit) return;
        Object.assign(credit, { artistId: 2, confidence: 0.5, method: 'etl' });
        model.writers.set('credit 2', 0);
        await tx`
          update wxyc_schema.compilation_track_artist
          set track_artist_id = 2, track_artist_link_confidence = 0.5, track_artist_link_method = 'etl'
          where id = 2`;
      }
    }
  }

  // What is there afterwards.

  private async compare(step: Step): Promise<void> {
    const stored = await storedTables(this.tx, (at) => this.time(at));
    const expected = expectedTables(this.model, (at) => this.time(at));
    expect(stored, `after ${JSON.stringify(step)}`).toEqual(expected);
  }

  /** A time that is about now, such as that of a release, is just that. */
  private time(at: number): number | 'now' {
    return at > this.began - 60_000 && at < this.began + 40_000 ? 'now' : at;
  }
}

/** LML answers for none of the libraries. */
const NOTHING: AnswerStep = {
  ...{ kind: 'answer', results: [], requested: null, shape: 'whole', version: 1, stats: null },
  ...{ origin: SERVICE, daysAgo: 0, strict: false, isLate: false },
};

/** The table of faults, where a call is tried once. */
function fateOf(
  came: Fate['came'],
  results: unknown[] | undefined,
  { length }: number[],
  root: string | null,
  answeredParts: Set<string>,
): string {
  if (came === 'lost') return 'lost';
  if (results) return 'applied';
  if (length > 1) return 'split';
  return came === 422 || (root !== null && answeredParts.has(root)) ? 'poison_input' : 'failed';
}
