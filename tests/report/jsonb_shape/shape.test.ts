import { expect, test } from 'vitest';
import { useDatabase } from '../../support/database.js';

const database = useDatabase();

test.each([
  ['{"b": 1, "a": {"y": 2, "x": "three"}}', ['a.x:string', 'a.y:number', 'b:number']],
  ['{"a": null}', ['a:null']],
  ['{"a": {}}', ['a:object']],
  ['{}', null],
  ['[1]', null],
  ['7', null],
])('%s: %j', async (value, shape) => {
  const [row] = await database.sql`select identity_sync_private.jsonb_shape(${value}::text::jsonb) as shape`;
  expect(row!.shape).toEqual(shape);
});
