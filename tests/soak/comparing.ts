// How two values differ, and a model that can be tried out.
import { isDeepStrictEqual } from 'node:util';
import { Model } from '../model/model.js';

export function copyOf(model: Model): Model {
  // What never changes once it is there is not copied.
  const { settlements, quarantine, versions, runs, ...rest } = model;
  const shared = {
    ...{ settlements: [...settlements], quarantine: [...quarantine] },
    ...{ versions: new Map(versions), runs: new Map(runs) },
  };
  const copy = { ...structuredClone(rest), ...shared };
  return Object.assign(Object.create(Model.prototype), copy);
}

const plain = (value: unknown) => (value === undefined ? null : JSON.parse(JSON.stringify(value)));

/** Where two values differ, in words. */
export function differences(actual: unknown, expected: unknown, path = ''): string {
  const [one, other] = [plain(actual), plain(expected)];
  if (isDeepStrictEqual(one, other)) return '';
  const areBoth = [one, other].every((value) => typeof value === 'object' && value !== null);
  if (!areBoth) return `${path} the model says ${JSON.stringify(one)}, the database ${JSON.stringify(other)}`;
  const keys = [...new Set([...Object.keys(one), ...Object.keys(other)])];
  return keys
    .map((key) => differences(one[key], other[key], path ? `${path}.${key}` : key))
    .filter(Boolean)
    .slice(0, 5)
    .join('; ');
}
