-- The next migration begins here.

drop function identity_sync_private.remember_questions(identity_sync_private.judged_verdict[], integer[], bigint[]);
drop function identity_sync_private.record_settlement(
  bigint, text, timestamptz, integer[], jsonb, identity_sync_private.write_result, jsonb, bigint, bigint
);

comment on column identity_sync.settlement.changed_counted is
  'Identities confirmed or changed, without rows renamed since they were asked last and what a run had written that this gauge stopped: of them the brake measures changed_seen, which name another artist.';
