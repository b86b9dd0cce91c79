// People who work on the same rows as the service. Each act and its line in the journal are one transaction.
import pg from 'pg';
import type { Sql } from '../../src/database/connect.js';
import type { Fields } from '../model/judge.js';
import type { Chance } from './random.js';

/** Why an act may fail though all is well: what it named is gone or held, or its session was cut. */
const EXPECTED = /^($|LS00[124]|55P03|57P0[123]|ECONN)/;

export interface Act {
  kind: string;
  ids: number[];
  args?: Fields;
  /** Returns what the act returned, and what else the model needs to know of it. */
  work(tx: Sql): Promise<{ result?: unknown; args?: Fields; ids?: number[] } | null>;
}

export class People {
  readonly counts = new Map<string, number>();
  readonly complaints: string[] = [];

  constructor(
    private readonly login: string,
    protected readonly chance: Chance,
    /** Every record that was ever on the shelf. */
    protected readonly allIds: number[],
  ) {}

  /** One session an act, since any may be cut, and none may go on with another. */
  protected async attempt(kind: string, work: (sql: Sql) => Promise<unknown>): Promise<void> {
    const count = (name: string) => this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
    const session = new pg.Client({ connectionString: this.login, application_name: 'soak' });
    session.on('error', () => {});
    const sql = async (words: TemplateStringsArray, ...values: unknown[]) => {
      const text = words.reduce((all, word, index) => `${all}$${index}${word}`);
      return (await session.query(text, values)).rows;
    };
    try {
      await session.connect();
      await work(sql as unknown as Sql);
      count(kind);
    } catch (error) {
      const { code = '', message } = error as { code?: string; message: string };
      count(`${kind}: ${code}`);
      if (!EXPECTED.test(code)) this.complaints.push(`${kind} failed with ${code}: ${message}`);
    } finally {
      await session.end().catch(() => {});
    }
  }

  protected act({ kind, ids, args = {}, work }: Act): Promise<void> {
    return this.attempt(kind, async (sql) => {
      await sql`begin`;
      const done = await work(sql);
      if (!done) return;
      const told = JSON.stringify({ ...args, ...done.args });
      const result = done.result === undefined ? null : JSON.stringify(done.result);
      await sql`
        insert into soak.act (kind, ids, args, result)
        values (${kind}, ${done.ids ?? ids}, ${told}::text::jsonb, ${result}::text::jsonb)`;
      await sql`commit`;
    });
  }
}
