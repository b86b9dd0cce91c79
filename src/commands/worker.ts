// `worker`: the production process. It ends with 0 after SIGTERM, and with 1 where it cannot work any more.
import { Command } from 'commander';
import { logStart, OK, settingsFrom, stopOnSignals } from './command.js';

// Calls end within eight seconds, and what is left closes within seven.
const STOP_MS = 15_000;

export const workerCommand = new Command('worker')
  .description(
    'the production process: carries runs, and plans, rescues and prunes by the crontab, until SIGTERM',
  )
  .action(async () => {
    const settings = await settingsFrom('worker');
    logStart('worker', settings);
    const { work } = await import('../worker/tasks.js');
    const { stop, abortNow } = stopOnSignals(STOP_MS);
    await work(settings, stop, abortNow);
    process.exit(OK);
  });
