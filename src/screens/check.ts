// What `check` found, for a person: a line each, and below what is not well its cure.
import { widthOf, wrap } from './format.js';

export interface Check {
  check: string;
  status: 'ok' | 'warn' | 'fail';
  message: string;
  cure: string | null;
}

export function checkScreen(checks: Check[], width: number): string[] {
  const wide = Math.max(...checks.map(({ check }) => widthOf(check)));
  const indent = ' '.repeat(wide + 8);
  const lines = checks.flatMap(({ check, status, message, cure }) => {
    const [first = '', ...rest] = wrap(message, width, indent);
    const grade = status === 'ok' ? status : status.toUpperCase();
    const head = `${check.padEnd(wide)}  ${grade.padEnd(4)}  ${first.trimStart()}`;
    return [head, ...rest, ...wrap(cure === null ? '' : `→ ${cure}`, width, indent)];
  });
  const failed = checks.filter(({ status }) => status === 'fail').length;
  const warned = checks.filter(({ status }) => status === 'warn').length;
  const warnings = warned === 0 ? '' : `, ${warned} ${warned === 1 ? 'warning' : 'warnings'}`;
  return [
    failed > 0 ? `not fit: ${failed} of these` : `fit for what this login may do${warnings}`,
    '',
    ...lines,
  ];
}
