// What dry runs foretold, held against the model. A rehearsal saw the tables as they were at some moment between its
// beginning and its commit: what the model says at one of both must be its report.
import type { Model } from '../model/model.js';
import { settle } from './acts.js';
import { copyOf, differences } from './comparing.js';
import { librariesOf, type Settled } from './ledger.js';

interface Moment {
  at: number;
  row: Settled;
}

export class Rehearsals {
  readonly complaints: string[] = [];
  count = 0;
  /** What the model said when it began; undefined: what it saw is not certain. */
  private readonly begun = new Map<Settled, string | undefined>();
  private readonly moments: Moment[];

  constructor(rows: Settled[]) {
    this.moments = rows
      .flatMap((row) => [
        { at: row.at, row },
        { at: row.committed, row },
      ])
      .sort((one, other) => one.at - other.at);
  }

  /** Tells the model of all that was rehearsed before a moment; nothing is said of what depends on uncertain events. */
  tell(model: Model, before: number, uncertain: { ids: number[] }[]): void {
    while (this.moments[0] && this.moments[0].at < before) {
      const { row, at } = this.moments.shift()!;
      const ids = librariesOf(row);
      const isUncertain = uncertain.some((event) => event.ids.some((id) => ids.includes(id)));
      const found = isUncertain ? undefined : this.compare(model, row, at);
      if (!this.begun.has(row)) {
        this.begun.set(row, found);
        continue;
      }
      this.count++;
      if (found && this.begun.get(row)) this.complaints.push(`rehearsal ${row.settlement}: ${found}`);
    }
  }

  private compare(model: Model, row: Settled, at: number): string {
    const copy = copyOf(model);
    copy.now = at;
    return differences(settle(copy, row), row.report);
  }
}
