// fast-check, whose random values can be had again: a failure prints its seed, and FC_SEED=… npm test takes it.
import fc from 'fast-check';

const { FC_SEED } = process.env;
if (FC_SEED) fc.configureGlobal({ seed: Number(FC_SEED) });

export default fc;
