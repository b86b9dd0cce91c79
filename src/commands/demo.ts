// `demo`: the product's main job on an embedded PostgreSQL.
import { Command } from 'commander';
import { addManual, OK } from './command.js';

const command = new Command('demo')
  .description('the whole product on an embedded PostgreSQL, a real catalogue and a stand-in for LML')
  .option('--keep', 'leave the server up until Ctrl-C');

export const demoCommand = addManual(command, { examples: ['identity-sync demo --keep'] }).action(
  async (options: { keep?: true }) => {
    const { demo } = await import('../demo/demo.js');
    await demo({ keep: options.keep === true });
    process.exitCode = OK;
  },
);
