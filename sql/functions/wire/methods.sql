-- Every method of the wire contract, in the order in which a refusal lists them.
-- is_in_band.sql holds the band of each; a test holds the two together.
create or replace function identity_sync_private.methods()
returns text[]
language sql immutable parallel safe
return '{
  manual, cross_source_agreement, exact_match, name_variation, member_group, alias_match, trigram, llm
}'::text[];

revoke all on function identity_sync_private.methods() from public;

comment on function identity_sync_private.methods() is
  'Returns the methods that a verdict or a source may name.';
