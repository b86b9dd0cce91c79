// A diff for a person: what kinds of change there are, then each column that changed, old beside new, and how to go on.
import { count, counted, recordOf, wrap } from './format.js';
import { flow } from './lines.js';
import { table } from './table.js';

/** A column that changed, as identity_run_changes returns it. */
export interface Change {
  library_id: number;
  artist_name: string | null;
  album_title: string | null;
  stored_row: string;
  column_name: string;
  old_value: string | null;
  new_value: string | null;
}

/** What identity_run_report says of the run. */
export interface DiffedRun {
  run_id: number;
  scope: string;
  dry_run: boolean;
  outcome: string | null;
}

// A person reads no more; --csv and --json have all of it.
const SHOWN = 500;

// Below what a dry run says there is less room.
const PREVIEWED = 40;

const KINDS = ['name another artist', 'gained an id', 'lost one', 'changed in something else'] as const;

/** Takes changes as they come, and keeps of them what is shown. */
export class DiffScreen {
  readonly #width: number;
  readonly #most: number;
  readonly #shown: Change[] = [];
  readonly #kinds = new Map<number, number>();
  #columns = 0;

  constructor(width: number, most = SHOWN) {
    this.#width = width;
    this.#most = most;
  }

  /** For what a dry run would change, which is shown below its report. */
  static preview = (width: number) => new DiffScreen(width, PREVIEWED);

  add(changes: Change[]): void {
    for (const change of changes) {
      this.#columns += 1;
      if (this.#shown.length < this.#most) this.#shown.push(change);
      const known = this.#kinds.get(change.library_id) ?? KINDS.length;
      this.#kinds.set(change.library_id, Math.min(known, kindOf(change)));
    }
  }

  /** A run's diff as a whole. */
  lines({ run_id, dry_run, scope, outcome }: DiffedRun): string[] {
    const run = dry_run ? `dry run ${run_id}` : `run ${run_id}`;
    const how = [scope, outcome].filter((word) => word !== null).join(', ');
    if (this.#columns === 0) return [`${run} (${how}) ${dry_run ? 'would change' : 'changed'} nothing`];
    return [
      ...wrap(`${run} (${how}) ${dry_run ? 'would change' : 'changed'} ${this.#libraries()}`, this.#width),
      ...this.#body('--csv or --json has all'),
      '',
      dry_run
        ? `apply it:   identity-sync apply --run ${run_id} [--ids 1,2]`
        : `take back:  identity-sync undo --run ${run_id} [--ids 1,2]`,
    ];
  }

  /** What a dry run would change; `all` says where all of it is. */
  previewed(all: string): string[] {
    if (this.#columns === 0) return ['it would change nothing'];
    return [`it would change ${this.#libraries()}`, ...this.#body(all)];
  }

  #libraries(): string {
    return counted(this.#kinds.size, 'library', 'libraries');
  }

  #body(all: string): string[] {
    const sums = KINDS.map((kind, index) => {
      const libraries = [...this.#kinds.values()].filter((found) => found === index).length;
      return libraries === 0 ? '' : `${count(libraries)} ${kind}`;
    });
    const more = this.#columns - this.#shown.length;
    return [
      ...flow(
        '',
        sums.filter((sum) => sum !== ''),
        this.#width,
      ),
      '',
      ...this.#table(),
      ...(more > 0 ? wrap(`… and ${count(more)} more${all === '' ? '' : `: ${all}`}`, this.#width) : []),
    ];
  }

  #table(): string[] {
    const rows = this.#shown.map((change, index) => ({
      ...change,
      isFirst: change.library_id !== this.#shown[index - 1]?.library_id,
    }));
    return table(
      [
        {
          title: 'id',
          cell: ({ isFirst, library_id }) => (isFirst ? String(library_id) : ''),
          align: 'right',
        },
        { title: 'artist – album', cell: (row) => (row.isFirst ? recordOf(row) : ''), atLeast: 12, rank: 2 },
        { title: 'row', cell: ({ stored_row }) => stored_row, atLeast: 8, rank: 1 },
        { title: 'column', cell: ({ column_name }) => column_name },
        { title: 'was', cell: ({ old_value }) => old_value ?? '–', atLeast: 8, keepsEnd: true },
        { title: 'is', cell: ({ new_value }) => new_value ?? '–', atLeast: 8, keepsEnd: true },
      ],
      rows,
      this.#width,
    );
  }
}

/** Which of KINDS a change is of. A library counts as the first kind among its changes. */
function kindOf({ column_name, old_value, new_value }: Change): number {
  if (!/(_id|_qid|_mbid)$/.test(column_name)) return 3;
  if (old_value === null) return 1;
  return new_value === null ? 2 : 0;
}

/** A line of CSV as RFC 4180 has it. A spreadsheet takes for a formula what begins as one, be it an artist's name. */
export function csvLine(cells: (string | number | null)[]): string {
  const quoted = cells.map((cell) => {
    const value = cell === null ? '' : String(cell);
    const text = /^[=+\-@\t\r]/.test(value) && !/^[+-]?\d+(\.\d+)?$/.test(value) ? `'${value}` : value;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  });
  return `${quoted.join(',')}\r\n`;
}
