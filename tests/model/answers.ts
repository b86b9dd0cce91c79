// An answer of LML as text, and what a reader finds in it.
import type { AnswerStep } from './histories.js';
import { read, write } from './json.js';

/** The results that a reader of an answer finds; undefined where it is none. */
export function resultsOf({ shape, results }: AnswerStep): unknown[] | undefined {
  if (shape === 'whole' || shape === 'array') return results;
  return shape === 'one' && isOneResult(results[0]) ? [results[0]] : undefined;
}

/** Whether a value alone is an answer: a result, and nothing else. */
function isOneResult(value: unknown): boolean {
  const result = read(value);
  return (
    typeof result === 'object' &&
    result !== null &&
    !Array.isArray(result) &&
    ('library_id' in result || 'kind' in result) &&
    !('results' in result)
  );
}

/** The text of an answer. */
export function textOf({ results, shape, version, stats }: AnswerStep): string {
  const whole = write({ results, tracks_contract_version: version, cache_stats: stats });
  switch (shape) {
    case 'whole':
      return whole;
    case 'array':
      return write(results);
    case 'one':
      return write(results[0] ?? 'nothing');
    case 'cut short':
      return whole.slice(0, -1 - (results.length % 7));
    case 'too deep':
      return `{"results": ${'['.repeat(50_000)}${']'.repeat(50_000)}}`;
    case 'no answer':
      return ['', 'null', '{}', '<html>', '"results"'][results.length % 5]!;
  }
}
