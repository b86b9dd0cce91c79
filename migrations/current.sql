-- The next migration begins here.

-- Its source rows have a function of their own now, so that no statement is issued where nothing changes.
drop function identity_sync_private.undo_identities(
  bigint, identity_sync_private.undoing[], bigint, text
);

-- It is told whether LML's address is set, too.
drop function identity_sync.identity_check(text[], timestamptz, text);
drop function identity_sync_private.settle_verdicts(
  jsonb, integer[], text, timestamptz, boolean, bigint[], bigint, bigint, integer[]
);

drop function identity_sync_private.record_settlement(
  bigint, text, timestamptz, integer[], jsonb, identity_sync_private.write_result, jsonb, integer[], bigint, bigint
);
