// The demo: the product's main job on real input, step by step. A newcomer understands it from the output.
import { setTimeout as sleep } from 'node:timers/promises';
import { createColors } from 'picocolors';
import postgres from 'postgres';
import { migrate } from '../commands/migrate.js';
import { runOnce } from '../commands/run.js';
import type { RunReport } from '../observe/ended-runs.js';
import { log } from '../observe/log.js';
import { columnsOf, count, wrap } from '../screens/format.js';
import { table } from '../screens/table.js';
import { readSettings, settingsOf } from '../settings.js';
import type { RunRequest } from '../worker/plan.js';
import { guardLibrary, loadCatalogue, loadCompilationCredits } from './catalogue.js';
import { startEmbeddedPostgres } from './embedded-postgres.js';
import { type Identities, loadCompilations, loadIdentities, type StandIn, startStandIn } from './stand-in.js';

// "Description of a Fool" by A Tribe Called Quest: three catalogues know the artist.
const TRIBE = 5;
// "Mama's Gun" by Erykah Badu.
const BADU = 128;
// Sixteen tracks and nineteen credits, a few of them to artists of the station's catalogue.
const COMPILATION = 'Around The World (For A Song)';

// The package itself takes CI for a terminal.
const colors = createColors(process.stdout.isTTY === true && !process.env.NO_COLOR);

const INDENT = '  ';

/** Runs the demo and leaves nothing behind; with `keep`, database and stand-in stay up until Ctrl-C. */
export async function demo(options: { keep: boolean }): Promise<void> {
  log.level = 'error';
  const started = performance.now();
  const interrupted = new AbortController();
  process.once('SIGINT', () => interrupted.abort()).once('SIGTERM', () => interrupted.abort());

  const server = await startEmbeddedPostgres({ version: 18 });
  const sql = postgres(server.url, { max: 2, onnotice: () => {} });
  const identities = loadIdentities();
  const lml = await startStandIn({
    identities,
    compilations: loadCompilations(),
    tracksContractVersion: 1,
  });
  try {
    await playChapters({ sql, lml, identities, databaseUrl: server.url, signal: interrupted.signal });
    heading('How to look for yourself');
    if (options.keep) {
      print(`psql "${server.url}"`);
      print('  select * from identity_sync.run_progress;');
      print('  select * from identity_sync.quarantine;');
      print(`  select * from wxyc_schema.library_identity where library_id = ${TRIBE};`);
      say(`The database and the stand-in (LIBRARY_METADATA_URL=${lml.url}) stay up until Ctrl-C.`);
    } else
      say('The database goes down now; `npm run demo -- --keep` leaves it up, to be looked at with psql.');
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const megabytes = Math.round(process.resourceUsage().maxRSS / 1024);
    say(
      `${seconds} s in all; this process, with the stand-in in it, took ${megabytes} MB at most.`,
      colors.dim,
    );
    if (options.keep) await sleep(2 ** 31 - 1, undefined, { signal: interrupted.signal }).catch(() => {});
  } finally {
    await lml.close();
    await sql.end();
    await server.stop();
  }
}

interface Stage {
  sql: postgres.Sql;
  lml: StandIn;
  identities: Identities;
  databaseUrl: string;
  signal: AbortSignal;
}

async function playChapters(stage: Stage): Promise<void> {
  const { sql, lml, identities, databaseUrl } = stage;

  await chapter("The station's catalogue", async () => {
    await loadCatalogue(sql);
    const [{ rows }] = await sql<
      [{ rows: number }]
    >`select count(*)::integer as rows from wxyc_schema.library`;
    await loadCompilationCredits(sql);
    await guardLibrary(sql);
    const [{ version }] = await sql<
      [{ version: string }]
    >`select current_setting('server_version') as version`;
    say(
      `PostgreSQL ${version}, embedded, with the ${count(rows)} records of WXYC's own catalogue (a dump of 2023) in ` +
        'wxyc_schema.library. A trigger refuses every write to that table.',
    );
    say(
      'The dump lacks two columns, set here by a rule: an artist with a name has a canonical entity, and what LML calls ' +
        "a compilation by its name has code_volume_letters = 'Z'.",
    );
    say(
      'LML is private, so a stand-in plays it on a socket. It knows the real ids of 3,828 of the artists; its methods ' +
        'and confidences are made up, from a hash of the name; it knows nothing of the others (unresolved).',
    );
  });

  await chapter('identity-sync migrate', async () => {
    await migrate(databaseUrl);
    const [{ functions }] = await sql<[{ functions: number }]>`
      select count(*)::integer as functions from pg_proc where pronamespace = 'identity_sync'::regnamespace`;
    say(
      `The identity tables, and the schema identity_sync with ${functions} functions: they decide and write.`,
    );
  });

  const first = await chapter('identity-sync run', async () => {
    const report = await run(stage, 'due', null);
    showReport(report);
    say(
      `LML was called ${lml.calls.length} times. Each answer went through as text: SQL judged it and wrote it.`,
    );
    return report;
  });

  await chapter('What a verdict became', async () => {
    await showLibrary(sql, TRIBE);
    say(
      'One main row, and beside it a row for each catalogue that LML named, with its method and confidence.',
    );
  });

  await chapter('identity-sync run, once more', async () => {
    const before = lml.calls.length;
    const report = await run(stage, 'due', null);
    say(`${report.planned} rows were due; LML was called ${lml.calls.length - before} times.`);
    say(
      'Every answer left a mark with its own time to live: an identity for 7 days, an unresolved row for 30.',
    );
  });

  await chapter('A verdict changes', async () => {
    say('LML now knows another Spotify id for A Tribe Called Quest, and no MusicBrainz id any more.');
    const tribe = identities.get('A Tribe Called Quest');
    lml.respondWith(({ inputs }) => ({
      body: answerOf(
        inputs.map((input) => input.library_id),
        {
          main: { discogs_artist_id: tribe?.discogs_artist_id, spotify_artist_id: '4AMvtewfWhXhXIZfiXFcdI' },
          method: 'cross_source_agreement',
          confidence: 0.97,
          provenance: [
            {
              source: 'discogs',
              method: 'exact_match',
              confidence: 1,
              external_id: String(tribe?.discogs_artist_id),
            },
            {
              source: 'spotify',
              method: 'name_variation',
              confidence: 0.97,
              external_id: '4AMvtewfWhXhXIZfiXFcdI',
            },
          ],
        },
      ),
    }));
    showReport(await run(stage, 'ids', [TRIBE]));
    await showLibrary(sql, TRIBE);
    say(
      'What was replaced is kept: the main row in library_identity_history, the source rows in superseded_source.',
    );
    showUpright(
      await sql`
        select history_id, spotify_id, musicbrainz_artist_id, method, confidence, superseded_reason
        from wxyc_schema.library_identity_history where library_id = ${TRIBE}`,
    );
    show(
      await sql`
        select source, action, external_id, method, confidence
        from identity_sync.superseded_source where library_id = ${TRIBE} order by source`,
    );
  });

  await chapter('A verdict is refused', async () => {
    say('LML answers a confidence of 1.5 for one record, and properly for its neighbour.');
    lml.respondWith(({ inputs, defaultBody }) => ({
      body: inputs.some((input) => input.library_id === BADU)
        ? defaultBody().replace(/("library_id":128,.*?"confidence":)[\d.]+/, '$11.5')
        : defaultBody(),
    }));
    showReport(await run(stage, 'ids', [BADU, TRIBE]));
    show(await sql`select library_id, path, value, reason from identity_sync.quarantine`);
    say('The neighbour was written. The refused verdict is kept as it came, and can be replayed.');
    lml.respondWith(null);
  });

  await chapter('Who plays on every track', async () => {
    const ids = await sql<{ id: number; is_shown: boolean }[]>`
      select id, album_title = ${COMPILATION} as is_shown from wxyc_schema.library where legacy_release_id < 0`;
    const shown = ids.find(({ is_shown }) => is_shown)!.id;
    say(
      `Beside the catalogue stand ${ids.length} real compilations, no holdings, with an artist credited for each track.`,
    );
    say(`This is "${COMPILATION}". A librarian has linked one of its tracks by hand:`);
    await sql`
      update wxyc_schema.compilation_track_artist
      set track_artist_id = (select id from wxyc_schema.artists where artist_name = 'Mickey Hart'),
          track_artist_link_method = 'librarian'
      where library_id = ${shown} and track_title = 'Kori'`;
    await showTracks(sql, shown);
    say(
      'LML answers whom each credit means. The catalogue knows some of them, under any spelling with the same fold:',
    );
    const all = ids.map(({ id }) => id);
    showTrackReport(await run(stage, 'ids', all));
    await showTracks(sql, shown);
    say(
      'The link of the librarian is kept, and missing positions are filled. A credit whose artist is not in the ' +
        'catalogue stays without a link. The same once more changes nothing, and issues no UPDATE:',
    );
    showTrackReport(await run(stage, 'ids', all));
  });

  await chapter('The catalogue moves, and so does LML', async () => {
    await sql.begin(async (tx) => {
      // What the demo's own guard refuses, a librarian may do.
      await tx`alter table wxyc_schema.library disable trigger user`;
      await tx`update wxyc_schema.library set artist_name = 'Erykah Badu' where id = ${TRIBE}`;
      await tx`alter table wxyc_schema.library enable trigger user`;
    });
    const renamed = await run(stage, 'due', null);
    const [row] = await sql<[{ spotify_id: string }]>`
      select spotify_id from wxyc_schema.library_identity where library_id = ${TRIBE}`;
    say(
      `A rename: record ${TRIBE} is called Erykah Badu now, so ${renamed.planned} row was due: its Spotify id is ${row.spotify_id}.`,
    );

    lml.gain({ source: 'deezer' });
    const gained = await run(stage, 'ids', [BADU]);
    say(`A new source: ${gained.source.inserted} source row was written as it came. ${gained.warnings[0]}.`);

    lml.turn('overloaded');
    const known = await sql<{ id: number }[]>`
      select library_id as id from wxyc_schema.library_identity order by library_id limit 3000`;
    const braked = await run(
      stage,
      'refresh',
      known.map(({ id }) => id),
    );
    const [, finding, cure] = /^(.*?: .*?)\. (.*)$/s.exec(braked.outcome_reason ?? '') ?? [];
    say(
      `A bad hour of LML: ${finding ?? braked.outcome}, so the run stopped after ${braked.scanned} of ${braked.planned} rows.`,
    );
    say(cure ?? '', colors.dim);
    lml.turn(null);
    await sql`select from identity_sync.resume_identity_planning(name => 'brake')`;
  });

  const due = await sql`select from identity_sync.identity_candidates()`;
  print('');
  say(
    `After it all ${count(due.length)} of the ${count(first.planned)} rows are due: those that the bad hour had marked.`,
  );
}

/** One run as the command line does it, in this process. */
async function run(stage: Stage, scope: string, ids: number[] | null): Promise<RunReport> {
  const settings = await readSettings(
    settingsOf('run'),
    {},
    { DATABASE_URL: stage.databaseUrl, LIBRARY_METADATA_URL: stage.lml.url, THROTTLE_MS: '0' },
  );
  const request: RunRequest = { scope, ids, accept: [], scheduled: false };
  const { report } = await runOnce(settings, request, stage.signal, stage.signal);
  if (stage.signal.aborted) throw new Error('interrupted');
  return report;
}

const answerOf = (ids: number[], verdict: object) =>
  JSON.stringify({
    results: ids.map((library_id) => ({
      kind: 'single_artist',
      library_id,
      ...verdict,
      tracks_attempted: false,
      tracks: [],
    })),
    cache_stats: null,
    tracks_contract_version: null,
  });

async function chapter<Result>(title: string, work: () => Promise<Result>): Promise<Result> {
  heading(title);
  const started = performance.now();
  const result = await work();
  print(colors.dim(`${((performance.now() - started) / 1000).toFixed(2)} s`));
  return result;
}

function heading(title: string): void {
  print(`\n${colors.bold(colors.cyan(`▌ ${title}`))}`);
}

/** Says sentences, in lines that fit. */
function say(text: string, colour = (line: string) => line): void {
  for (const line of wrap(text, Math.min(columnsOf(process.stdout), 120))) print(colour(line));
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function showLibrary(sql: postgres.Sql, id: number): Promise<void> {
  showUpright(
    await sql`
      select
        library.id as library_id, library.artist_name, identity.discogs_artist_id, identity.musicbrainz_artist_id,
        identity.spotify_id, identity.method, identity.confidence
      from wxyc_schema.library
      join wxyc_schema.library_identity as identity on identity.library_id = library.id
      where library.id = ${id}`,
  );
  show(
    await sql`
      select source, external_id, method, confidence, notes
      from wxyc_schema.library_identity_source where library_id = ${id} order by source`,
  );
}

async function showTracks(sql: postgres.Sql, library: number): Promise<void> {
  show(
    await sql`
      select
        credit.track_position as position, credit.track_title as track, credit.artist_name as credited,
        artists.artist_name as linked_to, credit.track_artist_link_confidence as confidence,
        credit.track_artist_link_method as method
      from wxyc_schema.compilation_track_artist as credit
      left join wxyc_schema.artists on artists.id = credit.track_artist_id
      where credit.library_id = ${library} order by credit.id`,
  );
}

function showTrackReport({ rows_resolved_compilation, compilation_track }: RunReport): void {
  show([{ 'compilations resolved': rows_resolved_compilation, tracks: written(compilation_track) }]);
}

function showReport(report: RunReport): void {
  const { scanned, rows_resolved, rows_unresolved, rows_skipped, identity, source } = report;
  const skipped = Object.entries(rows_skipped).filter(([, count]) => count > 0);
  show([
    {
      scanned,
      resolved: rows_resolved,
      unresolved: rows_unresolved,
      skipped: skipped.map(([reason, count]) => `${count} ${reason}`).join(', ') || 0,
      identities: written(identity),
      'source rows': written(source),
    },
  ]);
}

const written = (counts: Record<string, number>) =>
  Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([what, count]) => `${count} ${what}`)
    .join(', ') || 'none';

function show(rows: readonly Record<string, unknown>[]): void {
  const columns = Object.keys(rows[0] ?? {}).map((title) => ({
    title,
    cell: (row: Record<string, unknown>) => cell(row[title]),
    atLeast: 6,
  }));
  const [head = '', ...lines] = table(columns, [...rows], columnsOf(process.stdout) - INDENT.length);
  print('');
  for (const line of [colors.bold(head), ...lines]) print(INDENT + line);
  print('');
}

/** Shows one row with a line a column, because a main row is too wide for a line. */
function showUpright([row = {}]: readonly Record<string, unknown>[]): void {
  show(Object.entries(row).map(([column, value]) => ({ column, value })));
}

function cell(value: unknown): string {
  if (value === null || value === undefined) return 'null';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
