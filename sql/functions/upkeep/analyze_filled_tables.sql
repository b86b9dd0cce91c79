-- Renews the planner's statistics of the tables that a run fills, since the next plan may be made before autovacuum
-- comes. It waits for no lock: a table under maintenance by another session is skipped.
create or replace function identity_sync.analyze_filled_tables()
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
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
  'Analyzes the tables of identities, their history and this schema of which a tenth, and a thousand rows, have changed since the last analysis.';
