// How far a run is: its rows done and failed, its rate, the time left, and what it waits for.
import { count, duration } from '../screens/format.js';
import { onOneLine } from '../screens/signs.js';
import { keepLastLine, log, logsText } from './log.js';

const LINE_EVERY_MS = 5000;
const BAR_CELLS = 15;
const CLEAR_LINE = '\r\x1b[2K';

/** What the database knows of a run's progress. Rows that failed are not done: they are due again. */
export interface RunProgress {
  planned: number;
  done: number;
  failed: number;
  waits_for: string | null;
  waits_until: Date | null;
}

export interface Progress {
  show(now: RunProgress): void;
  end(): void;
}

/** Shows a bar below the log lines on a terminal, and elsewhere a line every few seconds. */
export function startProgress(runId: number): Progress {
  return process.stderr.isTTY && logsText() ? showBar() : writeLines(runId);
}

function showBar(): Progress {
  const pace = startPace();
  let line = '';
  const clear = () => process.stderr.write(CLEAR_LINE);
  const draw = () => process.stderr.write(line);
  keepLastLine({ clear, draw });
  return {
    show(now) {
      line = barLine(partsOf(now, pace(now)), now, process.stderr.columns || 80);
      process.stderr.write(CLEAR_LINE + line);
    },
    end() {
      keepLastLine(null);
      clear();
    },
  };
}

function writeLines(runId: number): Progress {
  const pace = startPace();
  let said = performance.now();
  return {
    show(now) {
      const left = pace(now);
      if (performance.now() - said < LINE_EVERY_MS) return;
      said = performance.now();
      const { planned, done, failed } = now;
      const words = partsOf(now, left).map(({ text }) => text);
      log.info(
        { step: 'progress', run_id: runId, planned, done, failed },
        `run ${runId}: ${words.join(', ')}`,
      );
    },
    end() {},
  };
}

/** What changes all the time is told without fractions. */
const inSeconds = (milliseconds: number): string => duration(Math.round(milliseconds / 1000) * 1000);

interface Part {
  text: string;
  /** Parts of a higher rank go first where a terminal is narrow. */
  rank: number;
}

/** What there is to say, from left to right. */
export function partsOf(now: RunProgress, pace: { perSecond: number; leftMs: number | null }): Part[] {
  const { planned, done, failed, waits_for: waitsFor, waits_until: until } = now;
  const waits = until === null ? '' : `, ${inSeconds(until.getTime() - Date.now())} more`;
  return [
    { text: `${count(done)} of ${count(planned)} rows`, rank: 1 },
    ...(failed > 0 ? [{ text: `${count(failed)} failed`, rank: 2 }] : []),
    ...(waitsFor === null
      ? [
          { text: `${count(Math.round(pace.perSecond))} rows/s`, rank: 5 },
          { text: `${pace.leftMs === null ? '?' : inSeconds(pace.leftMs)} left`, rank: 4 },
        ]
      : [{ text: `waits: ${onOneLine(waitsFor)}${waits}`, rank: 3 }]),
  ];
}

/** One line of at most `columns` less one, which drops parts rather than break. */
export function barLine(parts: Part[], { planned, done }: RunProgress, columns: number): string {
  const share = planned === 0 ? 1 : Math.min(1, done / planned);
  const cells = Math.floor(share * BAR_CELLS);
  const shown: Part[] = [
    { text: `▕${'█'.repeat(cells)}${' '.repeat(BAR_CELLS - cells)}▏`, rank: 6 },
    { text: `${Math.floor(share * 100)} %`, rank: 0 },
    ...parts,
  ];
  const lineOf = (kept: Part[]) => kept.map(({ text }) => text).join('  ');
  while (shown.length > 1 && lineOf(shown).length >= columns) {
    const last = Math.max(...shown.map(({ rank }) => rank));
    shown.splice(
      shown.findIndex(({ rank }) => rank === last),
      1,
    );
  }
  return lineOf(shown).slice(0, Math.max(0, columns - 1));
}

/** The pace since this process looks on; a run that it joins may have been going for long. */
function startPace(): (now: RunProgress) => { perSecond: number; leftMs: number | null } {
  const started = performance.now();
  let before = null as number | null;
  return ({ planned, done, failed }) => {
    before ??= done;
    const perSecond = ((done - before) * 1000) / (performance.now() - started);
    const left = Math.max(0, planned - done - failed);
    return { perSecond, leftMs: perSecond > 0 ? (left * 1000) / perSecond : left === 0 ? 0 : null };
  };
}
