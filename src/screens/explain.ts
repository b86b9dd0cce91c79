// One library on a screen: whether it is due, what is there now and who said it, and its history, the newest first.
import { age, clock, count, cut, printable, widthOf } from './format.js';
import { flow, type Palette, plain, wrapped } from './lines.js';
import { table } from './table.js';

type Identity = Record<(typeof IDS)[number][0], string | number | null> & {
  method: string;
  confidence: number;
  last_verified_at: string;
  notes: string | null;
  run_id: number | null;
  is_held: boolean;
};

interface Source {
  source: string;
  external_id: string;
  method: string;
  confidence: number;
  last_verified_at: string;
  notes: string | null;
  run_id: number | null;
}

interface Change {
  row: string;
  column: string | null;
  old: unknown;
  new: unknown;
}

interface Event {
  at: string;
  kind: string;
  run_id: number | null;
  origin: string | null;
  by: string | null;
  what: string | null;
  changes: Change[];
}

/** What explain_identity returns: the keys that this screen shows. */
export interface Explained {
  at: string;
  library_id: number;
  artist_name: string | null;
  album_title: string | null;
  due: { is_due: boolean; due_at: string | null; sentence: string };
  identity: Identity | null;
  sources: Source[];
  mark: { outcome: string; attempted_at: string; run_id: number | null } | null;
  quarantine: {
    quarantine_id: number;
    run_id: number | null;
    outcome: string;
    path: string | null;
    value: unknown;
    reason: string;
    sqlstate: string | null;
    message: string | null;
    quarantined_at: string;
  } | null;
  open_batches: { batch_id: number; run_id: number; dry_run: boolean; state: string }[];
  homonyms: { artist_id: number; artist_name: string; libraries: number }[];
  timeline: Event[];
}

const IDS = [
  ['discogs_artist_id', 'discogs'],
  ['musicbrainz_artist_id', 'musicbrainz'],
  ['wikidata_qid', 'wikidata'],
  ['spotify_id', 'spotify'],
  ['apple_music_id', 'apple_music'],
  ['bandcamp_id', 'bandcamp'],
] as const;

const HEAD = 12;
const head = (title: string) => title.padEnd(HEAD);

// A person reads no more; --json has all of them.
const EVENTS = 20;

export function explainScreen(explained: Explained, width: number, colors: Palette = plain): string[] {
  const now = new Date(explained.at);
  const name = `${printable(explained.artist_name ?? '–')} – ${printable(explained.album_title ?? '–')}`;
  const { due } = explained;
  const when = due.is_due || due.due_at === null ? '' : ` · due ${age(due.due_at, now)}`;
  return [
    colors.bold(cut(`${explained.library_id}  ${name}`, width)),
    ...wrapped('', `${printable(due.sentence)}${when}`, width).map((line) =>
      due.is_due ? colors.yellow(line) : line,
    ),
    '',
    ...identity(explained, width, now),
    ...beside(explained, width, now, colors),
    '',
    ...history(explained, width, now, colors),
  ];
}

const confidenceOf = (confidence: number) => confidence.toFixed(2);

const said = ({ run_id, notes }: { run_id: number | null; notes: string | null }) =>
  run_id === null ? printable(notes ?? 'another writer') : `run ${run_id}`;

function identity({ identity: known, sources }: Explained, width: number, now: Date): string[] {
  if (known === null && sources.length === 0) return [`${head('NOW')}no identity`];
  const ids = IDS.flatMap(([column, source]) => {
    const id = known?.[column] ?? null;
    return id === null ? [] : [`${source} ${printable(String(id))}`];
  });
  const facts =
    known === null
      ? ['no identity']
      : [
          ...(ids.length === 0 ? ['no id'] : ids),
          `${printable(known.method)} ${confidenceOf(known.confidence)}`,
          `${said(known)}, ${age(known.last_verified_at, now)}`,
          ...(known.is_held ? ['held by hand'] : []),
        ];
  const rows = table<Source>(
    [
      { title: 'source', cell: ({ source }) => source, atLeast: 8 },
      { title: 'id', cell: ({ external_id }) => external_id, atLeast: 22 },
      { title: 'method', cell: ({ method }) => method, rank: 2 },
      { title: 'confidence', cell: ({ confidence }) => confidenceOf(confidence), align: 'right', rank: 1 },
      { title: 'said by', cell: said, rank: 3, atLeast: 8 },
      { title: 'when', cell: ({ last_verified_at }) => age(last_verified_at, now), rank: 4 },
    ],
    sources,
    width - 2,
  );
  return [...flow(head('NOW'), facts, width), ...(sources.length === 0 ? [] : rows.map((row) => `  ${row}`))];
}

/** What stands beside an identity where there is any: a mark, a refusal, an open batch, others of the same name. */
function beside(explained: Explained, width: number, now: Date, colors: Palette): string[] {
  const { mark, quarantine, open_batches: batches, homonyms } = explained;
  const lines: string[] = [];
  if (mark !== null) {
    const from = mark.run_id === null ? '' : `, run ${mark.run_id}`;
    lines.push(...wrapped(head('MARK'), `${mark.outcome} ${age(mark.attempted_at, now)}${from}`, width));
  }
  if (quarantine !== null) {
    const { quarantine_id: entry, outcome, path, sqlstate, value } = quarantine;
    const words = printable(quarantine.message ?? quarantine.reason);
    lines.push(
      ...wrapped(
        head('QUARANTINE'),
        `${outcome} ${age(quarantine.quarantined_at, now)}: ${words}`,
        width,
      ).map(colors.red),
    );
    if (path !== null) lines.push(cut(`${head('')}${printable(path)}: ${asText(value)}`, width));
    else if (sqlstate !== null) lines.push(`${head('')}SQLSTATE ${printable(sqlstate)}`);
    lines.push(
      ...flow(
        head(''),
        [
          `judge again: identity-sync replay --ids ${explained.library_id}`,
          `close: identity-sync dismiss ${entry} --reason WHY`,
        ],
        width,
      ),
    );
  }
  for (const { batch_id, run_id, dry_run, state } of batches)
    lines.push(
      cut(`${head('BATCH')}batch ${batch_id} of run ${run_id}${dry_run ? ', dry' : ''}: ${state}`, width),
    );
  if (homonyms.length > 0) {
    const others = homonyms.map(
      ({ artist_id, artist_name, libraries }) =>
        `${printable(artist_name)} (artist ${artist_id}, ${count(libraries)} rows)`,
    );
    lines.push(...flow(head('HOMONYMS'), others, width));
  }
  return lines;
}

const WORDS: Record<string, string> = {
  identified: 'first identity',
  quarantined: 'refused',
  quarantine_closed: 'quarantine closed',
};

function history({ timeline }: Explained, width: number, now: Date, colors: Palette): string[] {
  if (timeline.length === 0) return [`${head('HISTORY')}nothing has happened to it yet`];
  const shown = timeline.slice(0, EVENTS);
  const lines = shown.flatMap((event, index) => [
    ...wrapped(index === 0 ? head('HISTORY') : head(''), titleOf(event, now), width),
    ...linesOf(event.changes, width),
  ]);
  const rest = timeline.length - shown.length;
  if (rest > 0) lines.push(colors.dim(cut(`${head('')}${count(rest)} older ones: --json`, width)));
  return lines;
}

function titleOf({ at, kind, run_id, origin, by, what }: Event, now: Date): string {
  const who =
    run_id !== null
      ? `run ${run_id}`
      : origin !== null
        ? printable(origin)
        : by === null
          ? ''
          : printable(by);
  const words = WORDS[kind] ?? kind;
  const detail = what === null || what === words ? '' : `: ${printable(what)}`;
  return `${clock(at)}, ${age(at, now)}  ${who === '' ? '' : `${who}  `}${words}${detail}`;
}

/** Each column old beside new, or below it where both do not fit. */
function linesOf(changes: Change[], width: number): string[] {
  const named = changes.map((change) => ({
    ...change,
    name: printable(change.row === 'identity' ? `${change.column}` : `${change.row} ${change.column ?? ''}`),
  }));
  const names = Math.max(0, ...named.map(({ name }) => widthOf(name)));
  return named.flatMap(({ name, row, old, new: became }) => {
    const values = row === 'verdict' ? [asText(became)] : [asText(old), `→ ${asText(became)}`];
    return flow(`${head('')}  ${name.padEnd(names)}  `, values, width, ' ');
  });
}

function asText(value: unknown): string {
  if (value === null || value === undefined) return '–';
  return printable(typeof value === 'string' ? value : JSON.stringify(value));
}
