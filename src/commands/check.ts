// `check`: whether login, database, LML and key are fit for a run, or for an operator. It changes nothing, and ends with 1
// where `run` would, or by an operator's login a repair.
import { once } from 'node:events';
import { createServer } from 'node:net';
import { Command } from 'commander';
import { readAddress } from '../database/address.js';
import { loginInWords, openSession } from '../database/connect.js';
import { knownMigrations, PREFLIGHT } from '../database/migrations.js';
import { inWords, notFit } from '../errors.js';
import { type Check, checkScreen } from '../screens/check.js';
import { age, clock, columnsOf } from '../screens/format.js';
import { type Settings, settingsOf } from '../settings.js';
import { addManual, FAILED, OK, settingsFrom, show } from './command.js';

// LML looks at the key first and refuses a call without inputs then, before it asks its own database.
const EMPTY_CALL = '{"inputs":[],"include_tracks":false}';
const LML_MS = 10_000;

const command = new Command('check')
  .description(
    'whether login, database, LML and key are fit for a run or an operator, each with its cure; changes nothing',
  )
  .option('--json', 'print JSON, as into a pipe');

export const checkCommand = addManual(
  command,
  {
    examples: ['identity-sync check', 'identity-sync check --json'],
    failed: 'run would fail, or by the login of an operator a repair',
  },
  settingsOf('check'),
).action(async (options: { json?: true }) => {
  // An operator's machine may know nothing of LML.
  const { LIBRARY_METADATA_URL: lmlUrl, ...settings } = await settingsFrom('check', {}, [
    'LIBRARY_METADATA_URL',
  ]);
  const checks = [
    ...(await checkDatabase(settings.DATABASE_URL, lmlUrl !== undefined)),
    ...(lmlUrl === undefined ? [] : [await checkLml(lmlUrl, settings)]),
    await checkCron(settings.PLAN_CRON),
    ...(settings.HEALTH_PORT === undefined ? [] : [await checkPort(settings.HEALTH_PORT)]),
  ];
  const fit = checks.every(({ status }) => status !== 'fail');
  show(options, { fit, checks }, () => checkScreen(checks, columnsOf(process.stdout)));
  process.exitCode = fit ? OK : FAILED;
});

const found =
  (status: Check['status']) =>
  (check: string, message: string, cure: string | null = null): Check => ({ check, status, message, cure });
const [ok, warn, fail] = [found('ok'), found('warn'), found('fail')];

async function checkDatabase(url: string, hasLml: boolean): Promise<Check[]> {
  const address = readAddress(url);
  const sql = openSession(url);
  try {
    const surroundings = await checkSurroundings(sql);
    const known = await knownMigrations();
    const sslmode = address.tls?.mode ?? 'disable';
    const [row] = await sql<[{ checks: Check[] }]>`
      select checks from identity_sync.identity_check(
        known => ${known}, asked_at => ${new Date().toISOString()}, sslmode => ${sslmode}, has_lml => ${hasLml}) as checks`;
    return [...row.checks, ...surroundings];
  } catch (error) {
    const { words } = inWords(notFit(loginInWords(error, address)));
    return [fail('database', words)];
  } finally {
    await sql.end({ timeout: 2 });
  }
}

/** What migrate looks at, too, by the same functions of the session. */
async function checkSurroundings(sql: ReturnType<typeof openSession>): Promise<Check[]> {
  try {
    await sql.file(PREFLIGHT);
    const [{ faults }] = await sql<[{ faults: string[] }]>`
      select faults from pg_temp.triggers_without_search_path() as faults`;
    const [{ publications }] = await sql<[{ publications: string[] }]>`
      select publications from pg_temp.publications_of_what_is_made() as publications`;
    const [{ slots }] = await sql<[{ slots: string | null }]>`
      select slots from pg_temp.slots_of_subscribers() as slots`;
    const lack = `these lack ${faults.join('; ')}`;
    const taken = `${publications.join(', ')}; slot ${slots}`;
    return [
      faults.length === 0
        ? ok('triggers', 'none is in the way')
        : fail('triggers', lack, 'Give each function its search_path, as its owner.'),
      publications.length === 0 || slots === null
        ? ok('replication', 'no subscriber takes what is ours')
        : warn('replication', taken, 'Migrate each subscriber first (README, "Publications").'),
    ];
  } catch (error) {
    // A login without TEMP, or a standby, cannot make them; a session that was never there is told of by the next call.
    const { words } = inWords(error);
    return [warn('triggers', `not looked at: ${words}`)];
  }
}

async function checkLml(
  url: string,
  { LML_API_KEY: apiKey, LML_TIMEOUT_MS: timeoutMs }: Pick<Settings, 'LML_API_KEY' | 'LML_TIMEOUT_MS'>,
): Promise<Check> {
  const { connectLml } = await import('../carry/lml.js');
  const lml = connectLml(url, { apiKey, timeoutMs: Math.min(timeoutMs, LML_MS) });
  const { status, failure, latencyMs } = await lml.ask(EMPTY_CALL, new AbortController().signal);
  await lml.close();
  const where = 'LIBRARY_METADATA_URL says where LML is.';
  if (status === null || failure !== null) return fail('LML', failure ?? 'no answer', where);
  if ([200, 400, 413, 422].includes(status)) {
    const key = apiKey === undefined ? 'it asks for no key' : 'the key is good';
    return ok('LML', `answered in ${latencyMs} ms (${status} to an empty call): it is there, and ${key}`);
  }
  if (status === 401 || status === 403) {
    const what = apiKey === undefined ? 'asks for a key, and LML_API_KEY is not set' : 'refuses the key';
    return fail('LML', `it ${what} (${status})`, "Set LML_API_KEY to this consumer's key.");
  }
  const unknown = 'whether the key is good is not known';
  if ([408, 425, 429].includes(status))
    return warn('LML', `it is busy (${status}); ${unknown}`, 'Try again later.');
  if (status >= 500) return fail('LML', `it is sick (${status}); ${unknown}`, "See LML's own log.");
  return fail('LML', `what answers is no LML (${status})`, where);
}

async function checkCron(time: string): Promise<Check> {
  const { nextTick } = await import('../worker/crontab.js');
  const next = nextTick(time, new Date());
  return ok('cron', `${time}: next ${clock(next)}, ${age(next)}, where a worker is up`);
}

/** Whether a worker could listen there: a run does not need it. */
async function checkPort(port: number): Promise<Check> {
  const server = createServer();
  try {
    await once(server.listen(port), 'listening');
    return ok('port', `${port} is free`);
  } catch (error) {
    const cure = 'Where a worker of yours is up on this machine, this is it.';
    return warn('port', inWords(error).words, cure);
  } finally {
    server.close();
  }
}
