// What a person types beside the workers: dry runs and runs in the foreground, previews that are applied, rehearsals,
// looks at this and that, and what follows when the brake has stopped a run.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sql } from '../../src/database/connect.js';
import type { Fleet } from './fleet.js';
import { People } from './people.js';
import type { Chance } from './random.js';

const PATIENCE_MS = 5 * 60_000;
const BUG = /TypeError|ReferenceError|RangeError|\n {4}at /;

interface Hold {
  run: string;
  gauge: string;
}

export class Commands extends People {
  constructor(
    /** Whose commands change what is there; the others are a worker's. */
    private readonly operator: string,
    chance: Chance,
    allIds: number[],
    private readonly fleet: Fleet,
    /** Where what carries runs itself lives. */
    private readonly place: number,
  ) {
    super(operator, chance, allIds);
  }

  /** The next command. */
  async type(): Promise<void> {
    const { chance } = this;
    const kind = chance.weighed({ 'run --dry-run': 3, run: 2, apply: 3, rehearse: 2, look: 2 });
    switch (kind) {
      case 'run --dry-run':
        return void (await this.run(['--dry-run', '--scope', chance.of(['due', 'refresh', 'recheck'])]));
      case 'run':
        return void (await this.run(['--scope', chance.of(['due', 'refresh'])]));
      case 'apply':
      case 'rehearse':
        return this.attempt(`look for a run to ${kind}`, async (sql) => {
          const [run] = await sql`
            select run_id as run, dry_run as "isDry", array(
              select unnest(library_ids) from identity_sync.batch where batch.run_id = run.run_id) as ids
            from identity_sync.run
            where finished_at > clock_timestamp() - interval '1 minute' and scope in ('due', 'refresh', 'recheck')
              and (dry_run or ${kind === 'rehearse'}) order by random() limit 1`;
          if (!run) return;
          const ids = chance.is(0.3) ? chance.some(run.ids, 40).join() : '';
          const words = [run.isDry ? 'apply' : 'undo', '--run', run.run, ...(ids && ['--ids', ids])];
          await this.operate(kind === 'apply' ? words : [...words, '--dry-run']);
        });
      case 'look':
        return this.operate(
          chance.of([
            ['status', '--json'],
            ['quarantine', '--json'],
            ['explain', String(chance.of(this.allIds))],
          ]),
        );
    }
  }

  /** Looks whether the brake holds planning, and if so does one of the things that its message offers. */
  async mend(): Promise<void> {
    const hold = await this.holdOfBrake();
    if (!hold) return;
    await this.operate(['status', '--json']);
    const kind = this.chance.weighed({ resume: 2, undo: 2, accept: 3, leave: 3 });
    if (kind === 'undo') await this.operate(['undo', '--run', hold.run]);
    if (kind === 'accept') await this.run(['--accept', hold.gauge]);
    if (kind === 'resume' || kind === 'undo') await this.operate(['resume', 'brake']);
  }

  /** The hold of the brake, where there is one. */
  async holdOfBrake(): Promise<Hold | undefined> {
    let hold: Hold | undefined;
    await this.attempt('look for a hold', async (sql: Sql) => {
      [hold] = await sql<Hold[]>`
        select run_id as run, gauge from identity_sync.planning_hold where name = 'brake'`;
    });
    return hold;
  }

  /** Makes a run by hand, and returns whether it completed. */
  async run(args: string[]): Promise<boolean> {
    return (await this.command(['run', '--json', ...args], {})) === 0;
  }

  private async operate(args: string[]): Promise<void> {
    await this.command(args, { DATABASE_URL: this.operator });
  }

  private async command(args: string[], settings: Record<string, string>): Promise<number | null> {
    const program = this.fleet.start(this.place, args, settings);
    const late = new AbortController();
    const isLate = sleep(PATIENCE_MS, true, { signal: late.signal }).catch(() => false);
    const { child, ended, signalled } = program;
    const words = args.filter((word) => /^[-a-z]+$/.test(word) && word !== '--json').join(' ');
    if (await Promise.race([ended.then(() => false), isLate])) {
      this.complaints.push(`${words} does not end: ${program.said.slice(-1500)}`);
      child.kill('SIGKILL');
      await ended;
    }
    late.abort();
    const { exitCode } = child;
    const count = `identity-sync ${words}: ${exitCode ?? child.signalCode}`;
    this.counts.set(count, (this.counts.get(count) ?? 0) + 1);
    const isExpected = exitCode === 0 || exitCode === 1 || signalled.length > 0;
    if (!isExpected || BUG.test(program.said))
      this.complaints.push(`${words} ended with ${exitCode}: ${program.said.slice(-1500)}`);
    return exitCode;
  }
}
