// How far a run is: its rows done, its rate and the time left.
import { type Bar, Presets, SingleBar } from 'cli-progress';
import { log } from './log.js';

const LINE_EVERY_MS = 5000;

/** Shows a bar on a terminal, and elsewhere a line every few seconds. */
export function startProgress(runId: string, planned: number): { show(done: number): void; end(): void } {
  return process.stderr.isTTY ? showBar(planned) : writeLines(runId, planned);
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
    show: (done: number) => bar.update(done, pace(done)),
    end: () => bar.stop(),
  };
}

function writeLines(runId: string, planned: number) {
  const pace = startPace(planned);
  let said = performance.now();
  return {
    show(done: number) {
      if (performance.now() - said < LINE_EVERY_MS) return;
      said = performance.now();
      const { rate, left } = pace(done);
      log.info(
        { step: 'progress', run_id: Number(runId) },
        `${done} of ${planned} rows, ${rate} rows/s, ${left} left`,
      );
    },
    end() {},
  };
}

function startPace(planned: number): (done: number) => { rate: string; left: string } {
  const started = performance.now();
  return (done) => {
    const perSecond = (done * 1000) / (performance.now() - started);
    const left = done === 0 ? '?' : `${Math.ceil(Math.max(0, planned - done) / perSecond)} s`;
    return { rate: Math.round(perSecond).toLocaleString('en'), left };
  };
}
