-- The next migration begins here.

drop function identity_sync_private.settle_verdicts(
  jsonb, integer[], text, timestamptz, boolean, bigint[], bigint, bigint, integer[]
);

drop function identity_sync_private.record_settlement(
  bigint, text, timestamptz, integer[], jsonb, identity_sync_private.write_result, jsonb, integer[], bigint, bigint
);
