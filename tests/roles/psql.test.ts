// The scripts for psql, run by psql.
import { execFile, execFileSync } from 'node:child_process';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { shelve, shelveAll, verdict } from '../support/catalogue.js';
import { cloneDatabase, connect, useDatabase, useLogin } from '../support/database.js';
import { ROOT, systemCatalogue } from '../support/repository.js';
import { useRoles } from '../support/roles.js';

const hasPsql = (() => {
  try {
    return execFileSync('psql', ['--version'], { stdio: 'pipe' }).length > 0;
  } catch {
    return false;
  }
})();

describe.skipIf(!hasPsql)('psql (skipped on machines that have none)', () => {
  const [reader, operator, worker] = [useLogin(), useLogin(), useLogin()] as const;
  const roles = useRoles();
  const database = useDatabase();
  const logins = () => ({ reader: reader.name, operator: operator.name, worker: worker.name });
  let files: string;
  let power: number;

  beforeAll(async () => {
    files = await mkdtemp(join(tmpdir(), 'files of the operator '));
    await writeFile(join(files, 'roles.sql'), roles.script);
    await psql(database.url, join(files, 'roles.sql'), logins());
    power = await shelve(database.sql, 'Cat Power');
    await shelve(database.sql, { artist: null });
  });
  afterAll(() => rm(files, { recursive: true }));

  /** Runs one of the repository's scripts and returns its output. */
  const script = (url: string, name: string, variables?: Record<string, string>) =>
    psql(url, join(ROOT, 'sql', name), variables);

  const fileOf = async (name: string, content: unknown) => {
    const path = join(files, name);
    await writeFile(path, JSON.stringify(content));
    return path;
  };

  const stored = async () => [
    ...(await database.sql`select discogs_artist_id, notes from wxyc_schema.library_identity`),
  ];

  test('sql/roles.sql does what these tests do without psql', async () => {
    const other = await cloneDatabase();
    await roles.run(other.url, logins());
    expect(await systemCatalogue(database.sql)).toEqual(await systemCatalogue(other.sql));
    await other.drop();

    const session = connect(operator.into(database));
    expect([...(await session`show search_path`)]).toEqual([{ search_path: 'identity_sync, "$user"' }]);
  });

  test('sql/roles.sql runs without variables, and once more with them', async () => {
    const before = await systemCatalogue(database.sql);
    await psql(database.url, join(files, 'roles.sql'));
    await psql(database.url, join(files, 'roles.sql'), logins());
    expect(await systemCatalogue(database.sql)).toEqual(before);
  });

  test('sql/dry-run.sql shows the operator what would change, and writes nothing', async () => {
    const verdicts = await fileOf('a single verdict.json', verdict.resolved(power, 41));
    const said = await script(operator.into(database), 'dry-run.sql', { verdicts });
    expect(said).toMatch(/"rows_resolved": 1/);
    expect(said).toMatch(new RegExp(`${power}\\|identity\\|discogs_artist_id\\|\\|41`));
    expect(said).toContain('Rolled back: nothing was written.');
    // The number of a run that is gone would be looked for in vain.
    expect(said).not.toContain('this is run');
    expect(await stored()).toEqual([]);
  });

  test('sql/repair.sql shows the same, what is refused and why, and commits', async () => {
    const broken = { ...verdict.resolved(power + 1), confidence: 1.5 };
    const verdicts = await fileOf("the director's.json", { results: [verdict.resolved(power, 41), broken] });
    const said = await script(operator.into(database), 'repair.sql', { verdicts });
    expect(said).toMatch(new RegExp(`${power}\\|identity\\|discogs_artist_id\\|\\|41`));
    expect(said).toMatch(new RegExp(`${power + 1}\\|confidence\\|1.5\\|`));
    expect(said).toContain('Committed.');
    expect(said).toMatch(/NOTICE: {2}this is run \d+ \(repair\)/);
    expect(await stored()).toEqual([{ discogs_artist_id: 41, notes: `repair:${operator.name}` }]);

    const corrected = await fileOf('corrected.json', [verdict.resolved(power, 42)]);
    const saidThen = await script(operator.into(database), 'repair.sql', { verdicts: corrected });
    expect(saidThen).toMatch(new RegExp(`${power}\\|identity\\|discogs_artist_id\\|41\\|42`));
  });

  test.each(['dry-run.sql', 'repair.sql'])(
    'sql/%s lists its own refusals, and not those of a session that is quicker',
    async (name) => {
      const [mine, theirs] = await shelveAll(database.sql, 'Low', 'Codeine');
      // The script has begun its transaction when it reads the file, and waits until there is something to read.
      const verdicts = join(files, `${name}, a pipe`);
      execFileSync('mkfifo', [verdicts]);
      const saying = script(operator.into(database), name, { verdicts });
      const pipe = await open(verdicts, 'w');
      await database.sql`
        select identity_sync.apply_identity_response(${JSON.stringify(verdict.invalid(theirs))}, null)`;
      await pipe.writeFile(JSON.stringify(verdict.invalid(mine)));
      await pipe.close();

      const said = await saying;
      expect(said).toMatch(new RegExp(`^${mine}\\|kind\\|`, 'm'));
      expect(said).not.toMatch(new RegExp(`^${theirs}\\|`, 'm'));
      await database.sql`delete from identity_sync.quarantined_verdict where library_id in (${mine}, ${theirs})`;
      await database.sql`delete from wxyc_schema.library where id in (${mine}, ${theirs})`;
    },
  );

  test.each(['dry-run.sql', 'repair.sql'])(
    'sql/%s says how it is used where no file is named',
    async (name) => {
      const failed = await script(operator.into(database), name).catch(
        (error: { stderr: string }) => error.stderr,
      );
      expect(failed).toContain(`usage: psql "$DATABASE_URL" -v verdicts=FILE -f sql/${name}`);
    },
  );

  test.each(['dry-run.sql', 'repair.sql'])('sql/%s is refused to a reader', async (name) => {
    const verdicts = await fileOf('a guess.json', verdict.resolved(power, 99));
    const failed = await script(reader.into(database), name, { verdicts }).catch(
      (error: { stderr: string }) => error.stderr,
    );
    expect(failed).toContain('permission denied for function apply_identity_');
  });

  test('sql/status.sql shows a reader how things stand', async () => {
    await database.sql`update wxyc_schema.library_identity set last_verified_at = 'infinity'`;
    const said = await script(reader.into(database), 'status.sql');
    const headings = said.split('\n').filter((line) => /^[A-Z][\w, ]+$/.test(line));
    expect(headings).toEqual([
      'Holds on planning, and what cures them',
      'Open runs',
      'Runs',
      'Planning',
      'Workers',
      'LML',
      'Catalogue',
      'Due now, by reason',
      'Quarantine',
      'Coverage',
      'Gate',
    ]);
    expect(said).toContain('no_name|1\n');
    expect(said).toContain('unknown_age|1\n');
    expect(said).toContain('composed|exact_match|1.00|non_va|1');
    expect(said).toContain('invalid_verdict|confidence||1|');
  });

  test('sql/gate.sql shows a reader the count, and who keeps the gate closed', async () => {
    const [lonely, sibling] = await shelveAll(database.sql, 'Nobody Knows', 'Cat Power');
    await database.sql`
      update wxyc_schema.library
      set artist_id = (select artist_id from wxyc_schema.library where id = ${power}) where id = ${sibling}`;
    const said = await script(reader.into(database), 'gate.sql');
    expect(said).toContain('2|1000|t|4|1|1');
    expect(said).toContain(`${lonely}|Nobody Knows|Untitled|`);
    expect(said).not.toContain('Cat Power');
  });
});

/** Runs a script unaligned and returns its output. Any error in it rejects with psql's message. */
async function psql(url: string, file: string, variables: Record<string, string> = {}): Promise<string> {
  const named = Object.entries(variables).flatMap(([name, value]) => ['-v', `${name}=${value}`]);
  const args = [url, '-X', '-A', '-P', 'footer=off', ...named, '-f', file];
  const { stdout, stderr } = await promisify(execFile)('psql', args);
  if (stderr.includes('ERROR')) throw Object.assign(new Error(stderr), { stderr });
  return stdout + stderr;
}
