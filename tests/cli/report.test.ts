// The page of `report`: what it shows of an empty, a running and a sick database, and that nothing in it is ever run.
import { execFileSync } from 'node:child_process';
import { lstat, mkdir, mkdtemp, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type postgres from 'postgres';
import { afterAll, describe, expect } from 'vitest';
import {
  answerOf,
  call,
  claim,
  plan,
  settle,
  shelve,
  shelveAll,
  shelveRealRecords,
  verdict,
} from '../support/catalogue.js';
import { type Browser, CHROMIUM, startChromium } from '../support/chromium.js';
import { freePort } from '../support/faults.js';
import { test } from '../support/test.js';
import { singleArtist, unresolved, withMain } from '../support/verdicts.js';

const HOSTILE = `<script>document.title='taken'</script><img src=x onerror="alert(1)">"'&\u202e`;

const reported = test.extend('report', async ({ cli }) => async () => {
  const { status, stdout, stderr } = await cli.run(['report', '--html', '-']);
  expect(status, stderr).toBe(0);
  return stdout;
});

reported('of an empty database says that nothing has been written yet', async ({ report }) => {
  const page = await report();
  expect(page).toContain('Nothing has been written yet');
  expect(page).toContain('every time and day on this page is in UTC');
});

reported(
  'of a sick database shows what needs a person, the field at fault and who was taken for whom',
  async ({ database, report }) => {
    const { moved, runId } = await makeSick(database.sql);
    const page = await report();
    expect(page).toMatch(/Planning is on hold since .* UTC \(brake\)/);
    expect(page).toContain(`<code>identity-sync undo --run ${runId}</code>`);
    expect(page).toContain('<mark>&quot;99999999999&quot;</mark>');
    expect(page).toContain(`<a class="id" href="https://www.discogs.com/artist/${moved}"`);
    expect(page).toContain('<a class="id" href="https://www.discogs.com/artist/4711"');
    expect(page).toMatch(new RegExp(`href="#run-${runId}".*id="run-${runId}"`, 's'));
  },
);

reported('keeps every text of the database a text', async ({ database, report }) => {
  await makeSick(database.sql);
  const page = await report();
  expect(page).toContain('&lt;script&gt;document.title=');
  expect(page).not.toMatch(/<(?:script|img|iframe|object|form)/i);
  expect(page).not.toMatch(/<[^>]* (?:on\w+|style)=/i);
  expect(page).not.toContain('\u202e');
  expect([...page.matchAll(/href="([^"]*)"/g)].filter(([, link]) => !/^(https:|#)/.test(link!))).toEqual([]);
  expect(page).toMatch(
    /content-security-policy" content="default-src &#39;none&#39;; style-src &#39;sha256-/,
  );
});

reported('writes a file whole or not at all', async ({ cli, database }) => {
  const folder = join(tmpdir(), `report-${database.url.split('/').at(-1)}`);
  await mkdir(folder);
  const path = join(folder, 'page.html');
  expect((await cli.run(['report', '--html', path])).status).toBe(0);
  expect(await readFile(path, 'utf8')).toMatch(/<\/html>\n$/);
  expect(await readdir(folder)).toEqual(['page.html']);
  const failed = await cli.run(['report', '--html', join(folder, 'nowhere', 'page.html')]);
  expect(failed.status).toBe(1);
  expect(failed.stderr).toContain('ENOENT');
});

reported(
  'leaves who may read a file as it was, fills a pipe, and follows no link',
  async ({ cli, database }) => {
    const folder = await mkdtemp(join(tmpdir(), `report-${database.name}-`));
    const inside = (name: string) => join(folder, name);
    const page = inside('page.html');
    await writeFile(page, 'yesterday', { mode: 0o600 });
    await symlink(page, inside('link.html'));
    const refused = await cli.run(['report', '--html', inside('link.html')]);
    expect(refused).toMatchObject({ status: 2, stderr: expect.stringContaining('is a link') });
    expect(await readFile(page, 'utf8')).toBe('yesterday');

    expect((await cli.run(['report', '--html', page])).status).toBe(0);
    expect(await readFile(page, 'utf8')).toMatch(/<\/html>\n$/);
    expect((await lstat(page)).mode & 0o777).toBe(0o600);

    execFileSync('mkfifo', [inside('pipe')]);
    await symlink('pipe', inside('stdout'));
    const [{ status }, text] = await Promise.all([
      cli.run(['report', '--html', inside('stdout')]),
      readFile(inside('pipe'), 'utf8'),
    ]);
    expect({ status, text }).toEqual({ status: 0, text: expect.stringMatching(/<\/html>\n$/) });
    expect((await readdir(folder)).sort()).toEqual(['link.html', 'page.html', 'pipe', 'stdout']);
  },
);

test('the health port serves it where STATUS_PAGE is true, under a policy, and nothing otherwise', async ({
  cli,
}) => {
  const [on, off] = [await freePort(), await freePort()];
  await cli.worker({ HEALTH_PORT: on, STATUS_PAGE: 'true' });
  await cli.worker({ HEALTH_PORT: off });
  const page = await fetch(`http://127.0.0.1:${on}/`);
  expect(page.status).toBe(200);
  expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
  expect(page.headers.get('content-security-policy')).toMatch(
    /^default-src 'none'; style-src 'sha256-[^']+'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'$/,
  );
  expect(await page.text()).toContain('</html>');
  expect((await fetch(`http://127.0.0.1:${off}/`)).status).toBe(404);
});

test('while the database is away the health port says so, and nothing of where it is', async ({
  cli,
  database,
}) => {
  const port = await freePort();
  await cli.worker({ HEALTH_PORT: port, STATUS_PAGE: 'true' });
  await database.sql`drop function identity_sync.identity_page`;
  const answer = await fetch(`http://127.0.0.1:${port}/`);
  expect(answer.status).toBe(503);
  expect(await answer.text()).toBe('the database could not be asked: 42883\n');
});

describe.skipIf(CHROMIUM === null)('in Chromium', () => {
  let browser: Promise<Browser> | undefined;
  afterAll(async () => (await browser)?.close());

  for (const [state, make] of Object.entries({
    empty: async () => {},
    running: makeRunning,
    sick: makeSick,
  })) {
    reported(
      `${state}: nothing is cut off, run or refused, on a phone and on a desk, light and dark`,
      async ({ database, report }) => {
        await make(database.sql);
        const folder = process.env.SCREENSHOTS ?? tmpdir();
        const file = join(folder, `${state}-${process.pid}.html`);
        await writeFile(file, await report());
        browser ??= startChromium(CHROMIUM!);
        const colours = new Set<string>();
        for (const width of [390, 1400]) {
          for (const scheme of ['light', 'dark'] as const) {
            const seen = await (await browser).open(pathToFileURL(file).href, { width, scheme });
            expect(seen.complaints).toEqual([]);
            expect(seen.scrollWidth).toBeLessThanOrEqual(width);
            expect(seen.elements).toMatchObject({ script: 0, img: 0 });
            expect(seen.text).toContain('library-identity-sync');
            colours.add(seen.colour);
            if (process.env.SCREENSHOTS) {
              await writeFile(join(folder, `${state}-${width}-${scheme}.png`), seen.screenshot);
            }
          }
        }
        expect(colours.size).toBe(2);
      },
    );
  }
});

/** A catalogue with a week of runs behind it, one of which is under way. */
async function makeRunning(sql: postgres.Sql): Promise<void> {
  const ids = await shelveRealRecords(sql, (_, index) => index < 300);
  for (const daysAgo of [6, 5, 4, 3, 2, 1]) {
    const runId = await plan(sql, { ids, scope: 'ids', batch_size: 100, va_batch_size: 100 });
    for (;;) {
      const batch = await claim(sql, runId).catch(() => null);
      if (batch === null) break;
      const inputs = (JSON.parse(batch.request) as { inputs: { library_id: number }[] }).inputs;
      const results = inputs.map(({ library_id: id }) => {
        if (id % 5 === daysAgo % 5) return unresolved(id);
        const artist = id % 17 === daysAgo ? id + 1 : id;
        const confidence = [0.97, 0.92, 0.84, 0.72][id % 4]!;
        return withMain(singleArtist(id, { method: 'manual', confidence }), { discogs_artist_id: artist });
      });
      await settle(sql, batch.batch_id, {
        body: answerOf(results),
        latencyMs: 900 + 40 * daysAgo * (inputs.length % 7),
      });
    }
    await sql`
      update identity_sync.lml_call set started_at = started_at - make_interval(days => ${daysAgo})
      where started_at > clock_timestamp() - interval '12 hours'`;
    await sql`
      update identity_sync.run
      set started_at = started_at - make_interval(days => ${daysAgo}),
          finished_at = finished_at - make_interval(days => ${daysAgo})
      where run_id = ${runId}`;
  }
  await sql`update wxyc_schema.library_identity set last_verified_at = last_verified_at - (library_id % 13) * interval '1 day'`;
  await sql`update identity_sync.attempt set attempted_at = attempted_at - (library_id % 29) * interval '1 day'`;
  await sql`select identity_sync.rescue_identity_runs(2, 'station-1:4711', '0.1.0', '17 3 * * *')`;
  const open = await plan(sql, { batch_size: 20 });
  const first = await claim(sql, open);
  await settle(sql, first.batch_id, { status: 503, body: '', retryAfter: '40', maxTries: 3 });
}

/** The same, with what can go wrong: refusals, another artist, holds, and names that are out to take the page. */
async function makeSick(sql: postgres.Sql): Promise<{ moved: number; runId: string }> {
  const [moved, refused, hostile] = await shelveAll(
    sql,
    'Stereolab',
    { artist: HOSTILE, title: `</pre>${HOSTILE}` },
    {
      artist: HOSTILE,
      title: 'A title as long as titles can be, and longer than a line on a phone: '.padEnd(
        128,
        'on and on ',
      ),
    },
  );
  await call(sql, 'apply_identity_verdicts', {
    response: [singleArtist(moved)],
    origin: 'consumer:lml-bulk',
  });
  const runId = await plan(sql, { ids: [moved, refused, hostile], scope: 'ids' });
  const { batch_id } = await claim(sql, runId);
  const results = [
    withMain(singleArtist(moved), { discogs_artist_id: 4711, spotify_artist_id: 'javascript:alert(1)' }),
    withMain(singleArtist(refused), { discogs_artist_id: '99999999999', [HOSTILE]: HOSTILE }),
    verdict.invalid(hostile),
  ];
  await settle(sql, batch_id, { body: answerOf(results) });
  await sql`
    insert into identity_sync.planning_hold (name, reason, run_id, gauge, share)
    values ('brake', ${`run ${runId}: 26 % of 1,000 identities name another artist: ${HOSTILE}`}, ${runId}, 'changed', 0.26)`;
  await shelve(sql, 'Autechre');
  return { moved, runId };
}
