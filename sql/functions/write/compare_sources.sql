-- Lays the sources of written identities beside the source rows that are there and finds what each changes, writing
-- nothing. A row of ours that the verdict no longer names goes, another writer's stays. New identities have no source
-- rows to be compared with, unless another writer has left some.
create or replace function identity_sync_private.compare_sources(identities identity_sync_private.judged_verdict[])
returns identity_sync_private.compared_sources
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  compared identity_sync_private.compared_sources := row(0, null, 0, 0, 0, 0);
  actions text[] := array['changed', 'unchanged'];
  new_ids integer[];
  ids integer[];
begin
  select
    coalesce(array_agg(identity.library_id) filter (where identity.action = 'inserted'), '{}'),
    coalesce(sum(cardinality(identity.sources)) filter (where identity.action = 'inserted'), 0),
    coalesce(array_agg(identity.library_id) filter (where identity.action in ('changed', 'unchanged')), '{}')
  into new_ids, compared.uncompared, ids
  from unnest(identities) as identity;

  if cardinality(new_ids) > 0
    and exists (select from wxyc_schema.library_identity_source as stored where stored.library_id = any (new_ids))
  then
    actions := actions || 'inserted'::text;
    ids := ids || new_ids;
    compared.uncompared := 0;
  end if;
  if cardinality(ids) = 0 then
    return compared;
  end if;

  select
    array_agg(
      row(
        laid.library_id, laid.source, laid.external_id, laid.method, laid.confidence, laid.action, laid.version,
        laid.is_of_new_identity
      )::identity_sync_private.source_change
    ) filter (where laid.action in ('inserted', 'changed', 'removed')),
    count(*) filter (where laid.action = 'inserted'),
    count(*) filter (where laid.action = 'changed'),
    count(*) filter (where laid.action = 'unchanged'),
    count(*) filter (where laid.action = 'removed')
  into compared.changes, compared.inserted, compared.changed, compared.unchanged, compared.removed
  from (
    select
      coalesce(named.library_id, stored.library_id) as library_id,
      coalesce(named.source, stored.source) as source,
      named.external_id,
      named.method,
      named.confidence,
      stored.version,
      named.is_of_new_identity,
      case
        when stored.library_id is null then 'inserted'
        when named.library_id is null and identity_sync_private.is_ours(stored.notes) then 'removed'
        when named.library_id is null then 'kept'
        when named.external_id is distinct from stored.external_id
          or named.method is distinct from stored.method
          or named.confidence is distinct from stored.confidence
        then 'changed'
        else 'unchanged'
      end as action
    from (
      select
        identity.library_id, judged.source, judged.external_id, judged.method, judged.confidence,
        identity.action = 'inserted' as is_of_new_identity
      from unnest(identities) as identity
      cross join lateral unnest(identity.sources) as judged
      where identity.action = any (actions)
    ) as named
    full join (
      select
        existing.library_id, existing.source, existing.external_id, existing.method, existing.confidence,
        existing.notes, existing.ctid as version
      from wxyc_schema.library_identity_source as existing
      where existing.library_id = any (ids)
    ) as stored on stored.library_id = named.library_id and stored.source = named.source
    offset 0
  ) as laid;

  return compared;
end;
$$;

revoke all on function identity_sync_private.compare_sources(identity_sync_private.judged_verdict[]) from public;

comment on function identity_sync_private.compare_sources(identity_sync_private.judged_verdict[]) is
  'Takes compared verdicts; returns the changes to their source rows and how many there are of each kind.';
