// The page: how things stand, with charts, in one file that needs nothing else. It shows what `status` shows, in its order:
// what needs a person comes first.
import { CAUSES, dueReasons, NOT_DUE, progressOf, scopeOf } from '../facts.js';
import { age, clock, count, duration, percent } from '../format.js';
import { calmOf, how, needsOf } from '../needs.js';
import type { EndedRun, Status, Ticks } from '../status.js';
import { bars, lines, shares } from './chart.js';
import { Html, html } from './html.js';
import { pageOf } from './links.js';
import { POLICY, STYLE } from './style.js';

interface Refusal {
  quarantine_id: number;
  library_id: number | null;
  artist_name: string | null;
  album_title: string | null;
  run_id: number | null;
  outcome: string;
  field: string | null;
  sqlstate: string | null;
  reason: string;
  quarantined_at: string;
  before: string | null;
  at_fault: string | null;
  after: string | null;
  is_cut: boolean;
}

interface Change {
  library_id: number;
  artist_name: string | null;
  album_title: string | null;
  at: string;
  why: string | null;
  run_id: number | null;
  changes: { column: string; old: string | null; new: string | null }[];
}

export interface PageData {
  status: Status & { coverage: Record<string, { bands: Record<string, number> }> };
  /** What identity_page returns. */
  series: {
    runs: (EndedRun & { compilations: number })[];
    calls_by_day: {
      day: string;
      calls: number;
      failures: number;
      p50_ms: number | null;
      p95_ms: number | null;
    }[];
    due_by_day: { day: string; stale: number; in_vain: number }[];
    refusals: Refusal[];
    changes: Change[];
  };
}

export function page({ status, series }: PageData, ticks: Ticks): string {
  const now = new Date(status.at);
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="content-security-policy" content="${POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>library-identity-sync, ${clock(now)}</title>
<style>${STYLE_AS_IT_IS}</style></head>
<body>
<h1>library-identity-sync</h1>
<p class="soft">as of ${clock(now)}; every time and day on this page is in UTC</p>
${needs(status, now)}
${openRuns(status, now)}
${figures(status, now)}
${charts(status, series)}
${runs(status, series, ticks, now)}
${changes(series.changes, now)}
${quarantine(status, series.refusals, now)}
${rest(status, now)}
<footer>Made by <code>identity-sync report</code>. The same facts for scripts: <code>identity-sync status --json</code></footer>
</body></html>
`.text;
}

// Of our own making, and hashed as it is.
const STYLE_AS_IT_IS = new Html(STYLE);

/** What keeps the service from its work, each with the commands that cure it. */
function needs(status: Status, now: Date): Html {
  const all = needsOf(status, now);
  if (all.length === 0) return html`<section class="card calm"><h3>${titled(calmOf(status))}</h3></section>`;
  return html`${all.map(
    ({
      what,
      why,
      cures,
    }) => html`<section class="card needs"><h3>${titled(what)}</h3>${why !== null && html`<p>${why}</p>`}
<ul class="cures">${cures.map(({ purpose, command }) => html`<li>${purpose}: <code>${command}</code></li>`)}</ul></section>`,
  )}`;
}

/** A title begins with a capital letter. */
const titled = (words: string) => words.charAt(0).toUpperCase() + words.slice(1);

function openRuns({ open_runs }: Status, now: Date): Html | false {
  if (open_runs.length === 0) return false;
  return html`<h2>Under way</h2><div class="cards">${open_runs.map((run) => {
    const share = run.planned === 0 ? 0 : run.done / run.planned;
    return html`<section class="card"><h3>Run ${run.run_id} (${scopeOf(run)}): ${percent(share)}</h3>
<svg viewBox="0 0 100 4" preserveAspectRatio="none" role="img" aria-label="${percent(share)}"><rect class="whole" width="100" height="4"/><rect class="f0" width="${100 * share}" height="4"/></svg>
<p>${progressOf(run).join(' · ')}</p>${run.stop_reason !== null && html`<p class="bad">stopping: ${run.stop_reason}</p>`}${run.waits.map(
      ({ what, until }) =>
        html`<p class="soft">waits: ${what}${until !== null && `, until ${clock(until)} (${age(until, now)})`}</p>`,
    )}</section>`;
  })}</div>`;
}

function figures({ catalogue, planning, lml, gate }: Status, now: Date): Html {
  const share = catalogue.rows === 0 ? 0 : catalogue.identified / catalogue.rows;
  const success = planning.last_success_at;
  const answer = lml.last_answer;
  const cells: [string, string, string][] = [
    ['identified', percent(share), `${count(catalogue.identified)} of ${count(catalogue.rows)} rows`],
    ['due now', count(catalogue.due), dueReasons(catalogue).join(', ')],
    ['last success', success === null ? 'never' : age(success, now), success === null ? '' : clock(success)],
    [
      'LML, median',
      lml.p50_ms === null ? '–' : duration(lml.p50_ms),
      answer === null
        ? 'never asked'
        : `last answer ${age(answer.at, now)} (${answer.http_status ?? answer.failure}), ${count(lml.recent_failures)} of ${count(lml.recent_calls)} failed`,
    ],
    [
      'gate',
      gate.is_complete ? 'complete' : 'open',
      `${count(gate.truly_unresolved)} truly unresolved, ${count(gate.allowed)} allowed`,
    ],
  ];
  return html`<h2>At a glance</h2><div class="figures">${cells.map(
    ([name, figure, words]) =>
      html`<section class="card"><span class="soft">${name}</span><div class="figure">${figure}</div><span class="soft">${words}</span></section>`,
  )}</div>`;
}

const BANDS = ['1.00', '0.95 - 0.99', '0.90 - 0.94', '0.80 - 0.89', '0.70 - 0.79', 'below 0.70'];

const dayOf = (day: string) => day.slice(5);

function charts(
  { coverage, catalogue }: PageData['status'],
  { runs, calls_by_day: days, due_by_day: coming }: PageData['series'],
): Html {
  const known = Object.entries(coverage).sort(
    ([one, { libraries }], [other, { libraries: others }]) =>
      Number(other === 'composed') - Number(one === 'composed') || others - libraries,
  );
  const of = (name: keyof EndedRun | 'compilations') =>
    runs.map((run) => Number(run[name as keyof EndedRun]));
  const drawn = [
    known.length > 0 &&
      shares({
        title: 'Coverage and confidence by source, share of the catalogue',
        whole: catalogue.rows,
        parts: BANDS.map((name, colour) => ({ name, colour })),
        rows: known.map(([name, { bands, share }]) => ({
          name,
          values: BANDS.map((band) => bands[band] ?? 0),
          sum: percent(share),
        })),
      }),
    runs.length > 0 &&
      bars({
        title: 'Rows per run, by outcome',
        places: runs.map(({ run_id }) => String(run_id)),
        series: [
          { name: 'confirmed', colour: 4, values: of('confirmed') },
          { name: 'new', colour: 2, values: of('new') },
          { name: 'changed', colour: 3, values: of('changed') },
          { name: 'compilations', colour: 5, values: of('compilations') },
          { name: 'unresolved', colour: 0, values: of('unresolved') },
          { name: 'refused', colour: 1, values: of('refused') },
        ],
      }),
    runs.length > 0 &&
      bars({
        title: 'The same, changed and refused alone',
        places: runs.map(({ run_id }) => String(run_id)),
        series: [
          { name: 'changed', colour: 3, values: of('changed') },
          { name: 'refused', colour: 1, values: of('refused') },
        ],
      }),
    days.length > 0 &&
      lines({
        title: 'Latency of LML, by day',
        places: days.map(({ day }) => dayOf(day)),
        series: [
          { name: 'median', colour: 0, values: days.map((day) => day.p50_ms) },
          { name: '95th percentile', colour: 1, values: days.map((day) => day.p95_ms) },
        ],
        format: duration,
      }),
    days.length > 0 &&
      bars({
        title: 'Calls to LML, by day',
        places: days.map(({ day }) => dayOf(day)),
        series: [
          { name: 'answered', colour: 0, values: days.map(({ calls, failures }) => calls - failures) },
          { name: 'failed', colour: 1, values: days.map(({ failures }) => failures) },
        ],
      }),
    catalogue.rows > 0 &&
      bars({
        title: 'Becoming due in the coming weeks, if nothing runs before',
        places: coming.map(({ day }) => dayOf(day)),
        series: [
          { name: 'stale', colour: 0, values: coming.map(({ stale }) => stale) },
          { name: 'in vain, window over', colour: 5, values: coming.map(({ in_vain }) => in_vain) },
        ],
      }),
  ].filter((chart) => chart !== false);
  return html`${drawn.length > 0 && html`<h2>Charts</h2><div class="cards">${drawn}</div>`}`;
}

const NUMBERS = ['changed', 'new', 'confirmed', 'unresolved', 'refused', 'left'] as const;

function runs({ runs, planning }: Status, { changes }: PageData['series'], ticks: Ticks, now: Date): Html {
  const shown = new Set(changes.map(({ run_id }) => run_id));
  const next = planning.crons.map((cron) => {
    const tick = ticks.get(cron);
    return html`<p class="soft">next tick <code>${cron}</code>${tick && ` (${clock(tick)}, ${age(tick, now)})`}${planning.holds.length > 0 && ', on hold'}</p>`;
  });
  return html`<h2>Runs</h2>${runs.length === 0 && html`<p>None has ended.</p>`}${
    runs.length > 0 &&
    html`<table class="wide"><thead><tr><th>run</th><th>scope</th><th>outcome</th><th>ended</th><th class="number">rows</th>${NUMBERS.map(
      (name) => html`<th class="number">${name}</th>`,
    )}<th>diff</th></tr></thead><tbody>${runs.map(
      (run) =>
        html`<tr><td><b>${run.run_id}</b></td><td>${scopeOf(run)}</td><td class="${run.outcome === 'completed' ? 'good' : 'bad'}">${how(run)}</td><td>${clock(run.finished_at)}</td><td class="number" data-of="rows">${count(run.scanned)}${run.scanned !== run.planned && ` of ${count(run.planned)}`}</td>${NUMBERS.map(
          (name) => html`<td class="number" data-of="${name}">${count(run[name])}</td>`,
        )}<td>${shown.has(run.run_id) ? html`<a href="#run-${String(run.run_id)}">diff</a>` : html`<code>identity-sync diff --run ${String(run.run_id)}</code>`}</td></tr>`,
    )}</tbody></table>`
  }${next}`;
}

function changes(all: Change[], now: Date): Html {
  const byRun = new Map<number | null, Change[]>();
  for (const change of all) byRun.set(change.run_id, [...(byRun.get(change.run_id) ?? []), change]);
  return html`<h2>What changed hands lately</h2>${all.length === 0 && html`<p>No row names another artist than before.</p>`}<div class="cards">${[
    ...byRun,
  ].map(
    ([
      run,
      changed,
    ]) => html`<section class="card" id="run-${run === null ? 'none' : String(run)}"><h3>${run === null ? 'By hand' : `Run ${run}`}</h3>
${run !== null && html`<p class="soft">all of it: <code>identity-sync diff --run ${String(run)}</code>, take back: <code>identity-sync undo --run ${String(run)}</code></p>`}
${changed.map(
  (
    change,
  ) => html`<div class="change"><b>${change.artist_name ?? 'no artist'}</b> – ${change.album_title ?? 'untitled'} <span class="soft">(${String(change.library_id)}) ${age(change.at, now)}</span>
${change.changes.map(({ column, old, new: became }) => html`<p><span class="soft">${sourceOf(column)}</span> <span class="was">${idOf(column, old)}</span> → ${idOf(column, became)}</p>`)}</div>`,
)}</section>`,
  )}</div>`;
}

const sourceOf = (column: string) => column.replace(/(_artist)?_id$|_qid$/, '').replaceAll('_', ' ');

function idOf(column: string, id: string | null): Html {
  if (id === null) return html`<span class="soft">gone</span>`;
  const link = pageOf(column, id);
  return link === null
    ? html`<span class="id">${id}</span>`
    : html`<a class="id" href="${link}" rel="noreferrer noopener">${id}</a>`;
}

function quarantine({ quarantine }: Status, refusals: Refusal[], now: Date): Html | false {
  if (refusals.length === 0) return false;
  const left = quarantine.entries - refusals.length;
  return html`<h2 id="quarantine">Quarantine</h2>${refusals.map(
    (
      entry,
      index,
    ) => html`<details class="card"${index < 3 && new Html(' open')}><summary><b>${entry.outcome}</b> ${entry.field ?? entry.sqlstate} · ${entry.artist_name ?? 'no library row'}${entry.album_title !== null && ` – ${entry.album_title}`} <span class="soft">${age(entry.quarantined_at, now)}</span></summary>
<p>${entry.reason}</p><p class="soft">entry ${String(entry.quarantine_id)}${entry.library_id !== null && `, library ${entry.library_id}`}${entry.run_id !== null && `, run ${entry.run_id}`}, ${clock(entry.quarantined_at)}${entry.is_cut && ', cut to what stands around the field'}</p>
<pre>${entry.before}${entry.at_fault !== null && html`<mark>${entry.at_fault}</mark>`}${entry.after}</pre>
<p class="soft">judge again: <code>identity-sync replay${entry.library_id !== null && ` --ids ${entry.library_id}`}</code>, close: <code>identity-sync dismiss ${String(entry.quarantine_id)} --reason WHY</code></p></details>`,
  )}${left > 0 && html`<p class="soft">and ${count(left)} more: <code>identity-sync quarantine</code></p>`}`;
}

function rest({ catalogue, gate, workers, lml }: Status, now: Date): Html {
  const list = (title: string, rows: [string, string][]) =>
    html`<section class="card"><h3>${title}</h3><table>${rows.map(([name, value]) => html`<tr><td>${name}</td><td class="number">${value}</td></tr>`)}</table></section>`;
  return html`<h2>In numbers</h2><div class="cards">${[
    list('Catalogue', [
      ['rows', count(catalogue.rows)],
      ['due', count(catalogue.due)],
      ...NOT_DUE.map(([key, words]): [string, string] => [words, count(catalogue[key])]),
    ]),
    list(
      'What keeps the gate open',
      CAUSES.map(([cause, words]) => [words, count(gate[cause])]),
    ),
    list('Workers', [
      ...workers.map(({ name, is_alive, seen_at, version }): [string, string] => [
        `${name} ${version ?? ''}`,
        is_alive ? 'alive' : `silent since ${clock(seen_at)}, ${age(seen_at, now)}`,
      ]),
      [
        'calls in flight',
        `${count(lml.calls_in_flight)}${lml.concurrency === null ? '' : ` of ${count(lml.concurrency)}`}`,
      ],
    ]),
  ]}</div>`;
}
