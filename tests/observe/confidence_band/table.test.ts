import { expect, test } from 'vitest';
import { useExpressions } from '../../support/expressions.js';

const evaluate = useExpressions();

test.each<[confidence: string, band: string]>([
  ['0', 'below 0.70'],
  ['0.6999', 'below 0.70'],
  ['0.7', '0.70 - 0.79'],
  ['0.7999', '0.70 - 0.79'],
  ['0.8', '0.80 - 0.89'],
  ['0.8999', '0.80 - 0.89'],
  ['0.9', '0.90 - 0.94'],
  ['0.9499', '0.90 - 0.94'],
  ['0.95', '0.95 - 0.99'],
  ['0.9999', '0.95 - 0.99'],
  ['1', '1.00'],
])('a confidence of %s, as the column stores it, is in the band %s', async (confidence, band) => {
  expect(await evaluate(`confidence_band(${confidence}::real)`)).toBe(band);
});
