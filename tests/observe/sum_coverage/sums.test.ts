import { expect } from 'vitest';
import { call, shelveAll } from '../../support/catalogue.js';
import { test } from '../../support/test.js';
import { leg, singleArtist } from '../../support/verdicts.js';

test('sums the coverage by source, also of one that LML has added, as the view has it', async ({
  database: { sql },
}) => {
  const coverage = async () => {
    const [row] = await sql`select identity_sync_private.sum_coverage() as coverage`;
    return row!.coverage;
  };
  expect(await coverage()).toEqual({});
  const [one, other] = await shelveAll(sql, 'Autechre', 'Stereolab', 'Sessa');
  const verdicts = [
    singleArtist(one, {
      method: 'exact_match',
      confidence: 1,
      provenance: [leg('discogs', '1'), leg('deezer', '2')],
    }),
    singleArtist(other, { method: 'llm', confidence: 0.75, provenance: [leg('discogs', '3')] }),
  ];
  await call(sql, 'apply_identity_verdicts', { response: verdicts });

  expect(await coverage()).toEqual({
    composed: {
      libraries: 2,
      share: 0.6667,
      methods: { exact_match: 1, llm: 1 },
      bands: { '1.00': 1, '0.70 - 0.79': 1 },
    },
    discogs: { libraries: 2, share: 0.6667, methods: { exact_match: 2 }, bands: { '1.00': 2 } },
    deezer: { libraries: 1, share: 0.3333, methods: { exact_match: 1 }, bands: { '1.00': 1 } },
  });
  const inView =
    await sql`select source, sum(libraries)::integer as libraries from identity_sync.coverage group by source`;
  expect(Object.fromEntries(inView.map(({ source, libraries }) => [source, libraries]))).toEqual({
    composed: 2,
    discogs: 2,
    deezer: 1,
  });
});
