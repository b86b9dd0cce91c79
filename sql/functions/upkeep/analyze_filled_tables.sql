-- Renews the planner's statistics of every table that holds identities or their history and of which a tenth, and a
-- thousand rows, have changed since. Autovacuum does the same in its own time, but the next plan may be made before.
-- A table that somebody else maintains at the moment is left to them.
create or replace function identity_sync.analyze_filled_tables()
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  filled regclass;
begin
  for filled in
    select known.relid
    from pg_stat_user_tables as known
    join pg_class on pg_class.oid = known.relid
    where (
        known.schemaname = 'identity_sync'
        or known.schemaname = 'wxyc_schema'
          and known.relname in ('library_identity', 'library_identity_source', 'library_identity_history')
      )
      and known.n_mod_since_analyze > greatest(1000, 0.1 * pg_class.reltuples)
  loop
    execute format('analyze (skip_locked) %s', filled);
  end loop;
end;
$$;

revoke all on function identity_sync.analyze_filled_tables() from public;

comment on function identity_sync.analyze_filled_tables() is
  'Takes nothing; analyzes the tables of identities, and of this schema, that have changed by a tenth and a thousand rows since they were analyzed last. It holds no lock that a reader or writer waits for.';
