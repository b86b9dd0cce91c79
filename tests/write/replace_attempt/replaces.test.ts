import { beforeEach, expect, test } from 'vitest';
import { DILATE, MONDAY, TUESDAY, useWriter, WEDNESDAY } from '../../support/writer.js';

const writer = useWriter();

const replace = (outcome: string, at: Date, releasedAt: Date | null = null) => writer.sql`
  select identity_sync_private.replace_attempt(${DILATE}, ${outcome}, ${at}, null, ${releasedAt})`;

async function mark() {
  const [row] = await writer.sql`select outcome, attempted_at, released_at from identity_sync.attempt`;
  return { ...row };
}

beforeEach(() => replace('poison_input', TUESDAY));

test('an attempt is replaced, however new it is', async () => {
  await replace('released', MONDAY);
  expect(await mark()).toEqual({ outcome: 'released', attempted_at: MONDAY, released_at: null });
});

test('the time of a release outlives the next mark', async () => {
  await replace('released', MONDAY, MONDAY);
  await replace('released', WEDNESDAY);
  expect(await mark()).toEqual({ outcome: 'released', attempted_at: WEDNESDAY, released_at: MONDAY });
});

test('a release outlasts a poison input, and only a release', async () => {
  await replace('released', MONDAY, MONDAY);
  await replace('poison_input', TUESDAY);
  expect(await mark()).toMatchObject({ outcome: 'released' });

  await replace('released', TUESDAY);
  await replace('poison_input', WEDNESDAY);
  expect(await mark()).toEqual({
    outcome: 'poison_input',
    attempted_at: WEDNESDAY,
    released_at: MONDAY,
  });
});
