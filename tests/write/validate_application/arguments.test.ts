// What apply_identity_verdicts may be called with: the refusal names the argument, its value and what is allowed.
import { expect, test } from 'vitest';
import {
  type Circumstances,
  DILATE,
  MONDAY,
  REPAIR,
  SERVICE,
  singleArtist,
  useWriter,
} from '../../support/writer.js';

const writer = useWriter();

const bad: [argument: string, circumstances: Circumstances, message: string, hint: string][] = [
  ...['', 'consumer', 'Consumer:lml-bulk', 'consumer:lml-bulk ', 'repair', ' repair:x'].map(
    (origin): [string, Circumstances, string, string] => [
      `origin ${JSON.stringify(origin)}`,
      { origin },
      `origin is '${origin}'`,
      'Allowed: consumer:lml-bulk for the service, a text that begins with repair: for a repair by hand, NULL for repair: and your login.',
    ],
  ),
  [
    'verified_at NULL',
    { verifiedAt: null },
    'verified_at is NULL',
    'Name the time at which LML gave the answer, or leave it out for now.',
  ],
  ...['infinity', '-infinity', '2999-12-31 23:59:59+00'].map(
    (verifiedAt): [string, Circumstances, string, string] => [
      `verified_at ${verifiedAt}`,
      { verifiedAt },
      `verified_at is ${verifiedAt}`,
      "Allowed: a time in the past, or at most one minute ahead of the database's clock.",
    ],
  ),
  ['strict_bands NULL', { strictBands: null }, 'strict_bands is NULL', 'Allowed: true, false.'],
];

test.each(bad)('%s is refused, and nothing is written', async (_, circumstances, message, hint) => {
  const before = await writer.everything();

  const application = writer.apply([singleArtist(DILATE)], {
    requested: [DILATE],
    origin: SERVICE,
    verifiedAt: MONDAY,
    ...circumstances,
  });

  await expect(application).rejects.toMatchObject({ code: 'LS001', message, hint });
  expect(await writer.everything()).toEqual(before);
  expect(await writer.sql`select from identity_sync.settlement`).toHaveLength(0);
});

test.each([SERVICE, 'repair:', REPAIR])('the origin %s is allowed', async (origin) => {
  await writer.sql`select identity_sync_private.validate_application(${origin}, ${MONDAY}, true)`;
});
