// What each command prints fits a terminal of any width, and sends no escape codes anywhere else.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { expect, onTestFinished } from 'vitest';
import { widthOf } from '../../src/screens/format.js';
import { answerOf, plan, shelveAll } from '../support/catalogue.js';
import { cli } from '../support/cli.js';
import { atATerminal } from '../support/terminal.js';
import { test } from '../support/test.js';
import { lastRun } from '../support/undo.js';
import { verdict } from '../support/verdicts.js';

// The worker prints log lines alone, and the demo has a test of its own.
const ELSEWHERE = ['worker', 'demo', 'help'];

// The bar below the log clears its line, and the last one that it clears is no line any more.
const CLEARED = new RegExp(`[^\\n]*\\r${'\u001b'}\\[2K`, 'g');

test.for([60, 200, null])(
  'every command at %s columns (null: into a pipe)',
  async (columns, { database, lml }) => {
    const { sql } = database;
    const [one, two, three] = await shelveAll(
      sql,
      {
        artist: 'A Tribe Called Quest',
        title: 'People’s Instinctive Travels and the Paths of Rhythm\u001b[2J',
      },
      { artist: '坂本龍一とイエロー・マジック・オーケストラ', title: '千のナイフ' },
      { artist: 'Juana Molina', title: 'Son' },
    );
    const folder = await mkdtemp(join(tmpdir(), 'widths-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const [file, page] = [join(folder, 'fix.json'), join(folder, 'page.html')];
    await writeFile(file, answerOf([verdict.resolved(two, 1489), verdict.invalid(three)]));
    const settings = {
      ...{ DATABASE_URL: database.url, LIBRARY_METADATA_URL: lml.url },
      // Log lines are as long as what they say.
      ...(columns !== null && { LOG_LEVEL: 'silent' }),
    };
    const seen = new Set<string>();
    const faults: string[] = [];
    const run = async (...args: string[]) => {
      seen.add(args[0]!);
      const name = `identity-sync ${args.join(' ')}`;
      if (columns === null) {
        const { stdout, stderr } = await cli(args, settings);
        if (stripVTControlCharacters(stdout + stderr) !== stdout + stderr)
          faults.push(`${name}: an escape code`);
        return;
      }
      const { screen } = await atATerminal(args, settings, columns);
      const lines = stripVTControlCharacters(screen.replaceAll(CLEARED, '')).split('\n');
      faults.push(...lines.filter((line) => widthOf(line) > columns).map((line) => `${name}: ${line}`));
    };

    await run('migrate');
    await run('check');
    await run('run', '--dry-run', '--ids', `${one},${two}`);
    await run('apply', '--run', await lastRun(sql), '--dry-run');
    await run('run', '--ids', `${one},${three}`);
    await run('apply', file, '--dry-run');
    await run('apply', file);
    const applied = await lastRun(sql);
    await run('diff', '--run', applied);
    await run('quarantine');
    await run('replay', '--dry-run');
    await run('hold', String(one), '--reason', 'two acts of one name');
    await run('pause', '--reason', 'LML is being moved to another machine, which takes until tomorrow');
    await run('explain', String(one));
    await run('status');
    const [entry] = await sql`select quarantine_id from identity_sync.quarantine`;
    await run('dismiss', String(entry!.quarantine_id), '--reason', 'a typing mistake');
    await run('undo', '--run', applied, '--dry-run');
    await run('undo', '--run', applied);
    await run('release', String(one), '--reason', 'it is one act');
    await run('stop', '--run', await plan(sql), '--reason', 'wrong rows');
    await run('resume');
    await run('report', '--html', page);
    expect(faults).toEqual([]);

    const { stdout: help } = await cli(['--help'], {});
    const names = [...help.split('Commands:')[1]!.matchAll(/^ {2}(\w+)/gm)].map(([, name]) => name!);
    expect(names.filter((name) => !seen.has(name) && !ELSEWHERE.includes(name))).toEqual([]);
  },
);
