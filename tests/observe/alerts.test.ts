// The alert rules and the dashboard speak of metrics that there are.
import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { connectProbes } from '../../src/observe/probes.js';
import { plan } from '../support/catalogue.js';
import { findProgram } from '../support/chromium.js';
import { useDatabase } from '../support/database.js';
import { readText } from '../support/repository.js';

const RULES = 'src/observe/alerts/rules.yml';
const DASHBOARD = 'src/observe/alerts/dashboard.json';
const PROMTOOL = findProgram('promtool');

const database = useDatabase();

interface Dashboard {
  title: string;
  schemaVersion: number;
  panels: {
    id: number;
    title: string;
    type: string;
    gridPos: Record<'x' | 'y' | 'w' | 'h', number>;
    targets: { expr: string; refId: string }[];
  }[];
}

test('every metric of the rules and the dashboard is in /metrics, and the dashboard shows every metric', async () => {
  // A run that is over, since some metrics begin with it.
  await plan(database.sql);
  const probes = connectProbes(database.url, {
    migrations: [],
    maxAgeHours: 26,
    LML_TIMEOUT_MS: 30_000,
    THROTTLE_MS: 100,
    STATUS_PAGE: false,
    STALE_THRESHOLD_DAYS: 7,
    UNRESOLVED_RETRY_DAYS: 30,
    INCLUDE_NULL_CANONICAL: false,
  });
  const { text } = await probes.metrics();
  await probes.close();
  const known = new Set([...text.matchAll(/^# TYPE (\w+)/gm)].map(([, name]) => name!));
  const namedIn = (path: string) =>
    new Set(
      [...readText(path).matchAll(/\bidentity_sync_\w+/g)].map(([name]) =>
        name.replace(/_(bucket|count|sum)$/, ''),
      ),
    );
  expect([...namedIn(RULES)].filter((name) => !known.has(name))).toEqual([]);
  expect([...namedIn(DASHBOARD)].sort()).toEqual([...known].sort());
});

test('the dashboard is one that Grafana takes: panels with an id, a place on the grid and a query each', () => {
  const { title, schemaVersion, panels } = JSON.parse(readText(DASHBOARD)) as Dashboard;
  expect([title, schemaVersion]).toEqual(['library-identity-sync', 39]);
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  for (const { title: name, type, gridPos, targets } of panels) {
    expect(['stat', 'timeseries'], name).toContain(type);
    expect(gridPos.x + gridPos.w, name).toBeLessThanOrEqual(24);
    expect(new Set(targets.map(({ refId }) => refId)).size, name).toBe(targets.length);
    for (const { expr } of targets) expect(expr, name).toMatch(/identity_sync_/);
  }
});

test.skipIf(PROMTOOL === null)('Prometheus takes the rules (skipped where there is no promtool)', () => {
  expect(execFileSync(PROMTOOL!, ['check', 'rules', RULES], { encoding: 'utf8' })).toMatch(
    /SUCCESS: \d+ rules/,
  );
});
