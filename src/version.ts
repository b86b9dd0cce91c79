// The version of this program, as LML, the log and Sentry hear it.
import { createRequire } from 'node:module';

export const VERSION: string = createRequire(import.meta.url)('../package.json').version;
