import { type Bar, Presets, SingleBar } from 'cli-progress';
import { log } from './log.js';
import type { RunReport } from './run.js';

const LINE_EVERY_MS = 5000;

/** Shows how far a run is, with its rate and the time left: a bar on a terminal, else a line every few seconds. */
export function startProgress(planned: number): { show(report: RunReport): void; end(): void } {
  return process.stderr.isTTY ? showBar(planned) : writeLines(planned);
}

function showBar(planned: number) {
  const bar: Bar = new SingleBar(
    {
      stream: process.stderr,
      format: '{bar} {percentage} % | {value} of {total} rows | {rate} rows/s | {left} left',
      hideCursor: true,
    },
    Presets.shades_classic,
  );
  const pace = startPace(planned);
  bar.start(planned, 0, pace(0));
  return {
    show: (report: RunReport) => bar.update(report.scanned, pace(report.scanned)),
    end: () => bar.stop(),
  };
}

function writeLines(planned: number) {
  const pace = startPace(planned);
  let said = performance.now();
  return {
    show(report: RunReport) {
      if (performance.now() - said < LINE_EVERY_MS) return;
      said = performance.now();
      const { rate, left } = pace(report.scanned);
      log.info(
        { step: 'progress', run_id: report.run_id },
        `${report.scanned} of ${planned} rows, ${rate} rows/s, ${left} left`,
      );
    },
    end() {},
  };
}

function startPace(planned: number): (scanned: number) => { rate: string; left: string } {
  const started = performance.now();
  return (scanned) => {
    const perSecond = (scanned * 1000) / (performance.now() - started);
    const left = scanned === 0 ? '?' : `${Math.ceil(Math.max(0, planned - scanned) / perSecond)} s`;
    return { rate: Math.round(perSecond).toLocaleString('en'), left };
  };
}
