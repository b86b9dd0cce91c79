// The table of settings: README.md, compose.yaml and the call that plans agree with it.
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  allowedBy,
  defaultOf,
  SETTINGS,
  type Setting,
  type SettingName,
  settingNamed,
  settingsOf,
} from '../../src/settings.js';
import { useDatabase } from '../support/database.js';
import { ROOT, readText } from '../support/repository.js';

const names = Object.keys(SETTINGS) as SettingName[];
const database = useDatabase();

test('README.md lists every setting with its flag, default and what it allows (vitest -u writes it)', async () => {
  const place = /(<!-- settings: .*? -->\n).*(<!-- \/settings -->\n)/s;
  const readme = readText('README.md');
  expect(readme).toMatch(place);
  const renewed = readme.replace(place, (_, before, after) => before + settingsTable() + after);
  await expect(renewed).toMatchFileSnapshot(join(ROOT, 'README.md'));
});

test('compose.yaml passes every setting that the worker reads', () => {
  const environment = /&environment\n((?: {6}.*\n)+)/.exec(readText('compose.yaml'))![1]!;
  const passed = [...environment.matchAll(/^ {6}(\w+): (.*)$/gm)].map(([, name, value]) => [name, value]);
  expect(passed.map(([name]) => name).sort()).toEqual(settingsOf('worker').sort());
  for (const [name, value] of passed) {
    if (name !== 'HEALTH_PORT') expect(value).toMatch(new RegExp(`^\\$\\{${name}:[-?]\\}$`));
  }
});

test("compose.yaml keeps the owner's login to migrate", () => {
  const [, service] = /\n {2}migrate:\n((?: {4}.*\n)+)/.exec(readText('compose.yaml'))!;
  expect(service).toMatch(
    /environment:\n {6}<<: \*environment\n {6}MIGRATE_DATABASE_URL: \$\{MIGRATE_DATABASE_URL:-\}\n/,
  );
  expect(readText('compose.yaml').match(/\{MIGRATE_DATABASE_URL/g)).toHaveLength(1);
});

test('.env.example names only what compose.yaml passes on', () => {
  const named = [...readText('.env.example').matchAll(/^(\w+)=/gm)].map(([, name]) => name!);
  expect(named).toContain('DATABASE_URL');
  for (const name of named) expect(readText('compose.yaml')).toMatch(new RegExp(`\\$\\{${name}:`));
});

test('a run is planned with every setting of its arguments, and plan_identity_run takes no other', async () => {
  const statement = readText('src/worker/plan.ts');
  const planned = names.flatMap((name) => settingNamed(name).plan ?? []);
  for (const argument of planned) expect(statement).toContain(`${argument} => \${set.${argument}}`);

  const [row] = await database.sql`
    select proargnames as arguments from pg_proc
    where oid = 'identity_sync.plan_identity_run'::regproc`;
  const asked = ['scope', 'ids', 'opened_by', 'accept', 'scheduled'];
  const { length } = row!.arguments as string[];
  expect(row!.arguments.slice(0, length).sort()).toEqual([...planned, ...asked].sort());
});

/** The table of variables, a row a setting. */
function settingsTable(): string {
  const rows = names.map((name) => {
    const setting = settingNamed(name);
    return `| ${[nameOf(name, setting), defaultIn(setting), allowedBy(setting.value), setting.about].join(' | ')} |\n`;
  });
  return `| variable (flag) | default | allowed | what it is |\n|---|---|---|---|\n${rows.join('')}`;
}

const nameOf = (name: SettingName, { flag }: Setting) => (flag ? `\`${name}\` (\`${flag}\`)` : `\`${name}\``);

function defaultIn(setting: Setting): string {
  if (!setting.value.safeParse(undefined).success) return 'required';
  const value = defaultOf(setting);
  if (value === undefined) return '–';
  return typeof value === 'string' ? `\`${value}\`` : String(value);
}
