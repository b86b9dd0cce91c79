// Consumers of the tables go by the origins in notes, so what counts as one is said in one place and costs no call.
import { describe, expect, test } from 'vitest';
import { useDatabase } from '../support/database.js';
import { definitions } from '../support/repository.js';

describe('an origin', () => {
  test.each([
    ["'consumer:lml-bulk'", 'functions/wire/service_origin.sql'],
    ["'repair:", 'functions/wire/repair_origin.sql'],
  ])('is written as %s in one file', (literal, path) => {
    const files = [...definitions('functions'), ...definitions('views')];
    const found = files.filter(({ text }) => text.replaceAll(/--.*$/gm, '').includes(literal));
    expect(found.map((file) => file.path)).toEqual([path]);
  });
});

describe('a rule of origin', () => {
  const database = useDatabase();

  test.each([
    ['is_repair(notes)', `starts_with\\(.*notes, 'repair:'::text\\)`],
    ['is_ours(notes)', `notes = 'consumer:lml-bulk'::text\\) OR starts_with`],
    ['is_set_by_hand(method, notes)', `notes IS DISTINCT FROM 'consumer:lml-bulk'::text`],
  ])('becomes a part of the plan: %s', async (rule, planned) => {
    const plan = await database.sql.unsafe(`
      explain (verbose, costs off)
      select from wxyc_schema.library_identity where identity_sync_private.${rule}`);
    const text = plan.map((line) => line['QUERY PLAN']).join('\n');
    expect(text).toMatch(new RegExp(planned));
    expect(text).not.toContain('identity_sync_private.');
  });
});
