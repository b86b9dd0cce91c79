// What is in quarantine, for a person: the field at fault with its value, the reason and how to go on.
import { age, count, recordOf } from './format.js';
import { table } from './table.js';

/** An entry as identity_quarantine returns it: the keys that this screen shows. */
export interface QuarantineEntry {
  quarantine_id: number;
  library_id: number | null;
  artist_name: string | null;
  album_title: string | null;
  run_id: number | null;
  outcome: string;
  reason: string;
  path: string | null;
  value: unknown;
  sqlstate: string | null;
  message: string | null;
  quarantined_at: string;
}

export function quarantineScreen(entries: QuarantineEntry[], width: number, now = new Date()): string[] {
  if (entries.length === 0) return ['nothing is in quarantine'];
  const byOutcome = new Map<string, number>();
  for (const { outcome } of entries) byOutcome.set(outcome, (byOutcome.get(outcome) ?? 0) + 1);
  const sums = [...byOutcome].map(([outcome, sum]) => `${count(sum)} ${outcome}`).join(', ');
  return [
    `${count(entries.length)} in quarantine: ${sums}`,
    '',
    ...table(
      [
        { title: 'entry', cell: (entry) => String(entry.quarantine_id), align: 'right' },
        { title: 'library', cell: (entry) => String(entry.library_id ?? '–'), align: 'right' },
        { title: 'field', cell: (entry) => entry.path ?? entry.sqlstate ?? '–', atLeast: 12 },
        {
          title: 'value',
          cell: ({ value }) => (value === null ? '–' : JSON.stringify(value)),
          atLeast: 8,
          rank: 5,
        },
        { title: 'reason', cell: reasonOf, atLeast: 28, rank: 1 },
        { title: 'run', cell: (entry) => String(entry.run_id ?? '–'), align: 'right', rank: 3 },
        { title: 'since', cell: (entry) => age(entry.quarantined_at, now), rank: 2 },
        { title: 'artist – album', cell: recordOf, atLeast: 12, rank: 4 },
      ],
      entries,
      width,
    ),
    '',
    'ask LML again:   identity-sync run --ids LIBRARY',
    'judge again:     identity-sync replay [--ids LIBRARY]',
    'close one:       identity-sync dismiss ENTRY --reason WHY',
  ];
}

// The field and its value have columns of their own.
const reasonOf = ({ message, reason, path }: QuarantineEntry) =>
  message ?? (path === null ? reason : reason.replace(/^.*; (?=allowed: )/s, ''));
