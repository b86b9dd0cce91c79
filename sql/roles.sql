-- Who may do what: psql "$DBA_URL" -f sql/roles.sql
-- For the DBA, after `identity-sync migrate` and again after every later one: new functions get their grants here.
-- Grants name roles, so they stand in this file alone; functions only revoke from PUBLIC. A second run changes nothing.
--
-- identity_reader    reads everything, through every function that writes nothing
-- identity_operator  also repairs, holds, undoes, and pauses and stops, through the functions that write; it writes no
--                    table directly
-- identity_worker    reads everything too, plans, carries and stops runs, lifts holds on planning, and looks at and
--                    writes what any dry run previewed. It reads and writes graphile-worker's tables, and owns none
--
-- These roles do not log in. Give them to logins. The unqualified call needs a search_path too, which membership does
-- not pass on. It is without schema public: there, until PostgreSQL 15, everybody may put a function that fits a call
-- better than ours. A login's transactions and timeouts are set too, whatever the database's defaults are: where these
-- are serializable, every lane would pay for it in retries, and a session that waits for jobs must not be cut as idle.
--   psql "$DBA_URL" -v reader=dashboard -f sql/roles.sql
--   psql "$DBA_URL" -v operator=alice -f sql/roles.sql
--   psql "$DBA_URL" -v worker=identity_sync_service -f sql/roles.sql

\set ON_ERROR_STOP on
begin isolation level read committed read write;
-- What others may have put into schema public must not be called with a DBA's rights.
set local search_path = pg_catalog, pg_temp;
-- That a role has a role already is no news.
set local client_min_messages = warning;

do $$
declare
  wanted text;
begin
  foreach wanted in array array['identity_reader', 'identity_operator', 'identity_worker'] loop
    if not exists (select from pg_roles where rolname = wanted) then
      execute format('create role %I nologin', wanted);
    end if;
  end loop;
  grant identity_reader to identity_operator, identity_worker;
exception
  when insufficient_privilege then
    raise exception using
      errcode = 'insufficient_privilege',
      message = format('%I may not give roles: %s', current_user, sqlerrm),
      hint = 'Run this as the DBA: a superuser, or a login with CREATEROLE that made these roles.';
end;
$$;

-- A function that reads runs with the rights of its caller, who needs the private functions it calls: none writes.
grant usage on schema identity_sync, identity_sync_private, wxyc_schema, graphile_migrate to identity_reader;
grant select on all tables in schema identity_sync to identity_reader;
-- Whether a program's migrations are there.
grant select on graphile_migrate.migrations to identity_reader;
grant select on
  wxyc_schema.library, wxyc_schema.artists, wxyc_schema.compilation_track_artist,
  wxyc_schema.library_identity, wxyc_schema.library_identity_source, wxyc_schema.library_identity_history
to identity_reader;

-- A grant that this login may not make is a mere warning to PostgreSQL.
do $$
declare
  closed text[] := array(
    select 'SELECT on ' || relation
    from unnest(array['wxyc_schema.library', 'wxyc_schema.artists', 'wxyc_schema.compilation_track_artist']) as relation
    where not has_table_privilege('identity_reader', relation, 'SELECT')
  );
begin
  if not has_schema_privilege('identity_reader', 'wxyc_schema', 'USAGE') then
    closed := array['USAGE on schema wxyc_schema'] || closed;
  end if;
  if closed <> '{}' then
    raise exception using
      errcode = 'insufficient_privilege',
      message = format('%I cannot grant %s to identity_reader', current_user, array_to_string(closed, ', ')),
      hint = 'Run this as a member of their owner, or have the owner grant them first.';
  end if;
end;
$$;

-- A function that is not volatile writes nothing, so every reader may call it.
do $$
declare
  reading record;
begin
  for reading in
    select pg_proc.oid::regprocedure as signature
    from pg_proc
    where pronamespace in ('identity_sync'::regnamespace, 'identity_sync_private'::regnamespace)
      and provolatile <> 'v'
  loop
    execute format('grant execute on function %s to identity_reader', reading.signature);
  end loop;
end;
$$;

-- Public functions that are volatile are SECURITY DEFINER, and each is granted by name.
grant execute on function
  identity_sync.apply_identity_verdicts(jsonb, integer[], text, timestamptz, boolean, bigint[]),
  identity_sync.apply_identity_response(text, integer[], text, timestamptz, boolean, bigint[]),
  identity_sync.apply_identity_preview(bigint, integer[]),
  identity_sync.replay_quarantined_verdicts(bigint, integer[]),
  identity_sync.dismiss_quarantined_verdict(bigint, text),
  identity_sync.release_identity(integer, text),
  identity_sync.undo_identity_run(bigint, integer[]),
  identity_sync.identity_run_changes(bigint),
  identity_sync.hold_identity(integer, text),
  identity_sync.pause_identity_planning(text, timestamptz),
  identity_sync.resume_identity_planning(text),
  identity_sync.stop_identity_run(bigint, text, text, text)
to identity_operator;

-- sql/repair.sql lists its refusals by the number of its settlement. SELECT is enough for currval, and moves nothing.
grant select on sequence identity_sync.settlement_settlement_id_seq to identity_operator;

grant execute on function
  identity_sync.plan_identity_run(
    text, integer, integer, boolean, integer, integer, integer[], integer, integer, boolean, boolean, integer, text,
    text[], integer, integer, boolean
  ),
  identity_sync.enqueue_lanes(bigint, integer, timestamptz),
  identity_sync.claim_identity_batch(bigint, text, integer, integer, bigint),
  identity_sync.finish_identity_call(bigint, text, integer, text, text, integer, text, integer),
  identity_sync.return_identity_batch(bigint, text),
  identity_sync.renew_identity_lease(bigint, text, integer),
  identity_sync.fail_identity_batch(bigint, text, text, text),
  identity_sync.stop_identity_run(bigint, text, text, text),
  identity_sync.rescue_identity_runs(integer, text, text, text),
  identity_sync.take_unreported_runs(),
  identity_sync.take_identity_alerts(),
  identity_sync.prune_identity_sync(integer),
  identity_sync.analyze_filled_tables(),
  identity_sync.resume_identity_planning(text),
  identity_sync.apply_identity_preview(bigint, integer[]),
  identity_sync.identity_run_changes(bigint)
to identity_worker;

-- graphile-worker's objects stay with the owner of our functions, which enqueue jobs with its rights: a function that
-- the worker's login could replace would give it those rights. Its tables' row security has no policies, so that the
-- role that runs it gets one for each.
do $$
declare
  definer name := (select pg_get_userbyid(nspowner) from pg_namespace where nspname = 'identity_sync');
  changed record;
begin
  for changed in
    select object.statement
    from (
      select
        1 as step, format('alter schema %s owner to %I', oid::regnamespace, definer) as statement, nspowner as owner
      from pg_namespace
      where nspname = 'graphile_worker'
      union all
      select 2, format('alter table %s owner to %I', oid::regclass, definer), relowner
      from pg_class
      where relnamespace = 'graphile_worker'::regnamespace and relkind in ('r', 'p', 'v')
      union all
      -- A sequence that belongs to a column follows its table.
      select 3, format('alter sequence %s owner to %I', pg_class.oid::regclass, definer), relowner
      from pg_class
      where relnamespace = 'graphile_worker'::regnamespace
        and relkind = 'S'
        and not exists (
          select from pg_depend
          where objid = pg_class.oid and classid = 'pg_class'::regclass and deptype in ('a', 'i')
        )
      union all
      select 4, format('alter routine %s owner to %I', oid::regprocedure, definer), proowner
      from pg_proc
      where pronamespace = 'graphile_worker'::regnamespace
      union all
      select 5, format('alter type %s owner to %I', pg_type.oid::regtype, definer), typowner
      from pg_type
      left join pg_class on pg_class.oid = pg_type.typrelid
      where typnamespace = 'graphile_worker'::regnamespace and (typtype in ('e', 'd') or pg_class.relkind = 'c')
    ) as object
    where object.owner <> definer::regrole
    order by object.step
  loop
    execute changed.statement;
  end loop;

  for changed in
    select format('create policy identity_worker on %s to identity_worker using (true)', oid::regclass) as statement
    from pg_class
    where relnamespace = 'graphile_worker'::regnamespace
      and relrowsecurity
      and not exists (select from pg_policy where polrelid = pg_class.oid and polname = 'identity_worker')
  loop
    execute changed.statement;
  end loop;
end;
$$;

grant usage on schema graphile_worker to identity_worker;
grant select, insert, update, delete on all tables in schema graphile_worker to identity_worker;
grant usage, select on all sequences in schema graphile_worker to identity_worker;
grant execute on all routines in schema graphile_worker to identity_worker;

\if :{?reader}
  grant identity_reader to :"reader";
  alter role :"reader" in database :"DBNAME" set search_path = identity_sync, "$user";
\endif

\if :{?operator}
  grant identity_operator to :"operator";
  alter role :"operator" in database :"DBNAME" set search_path = identity_sync, "$user";
  alter role :"operator" in database :"DBNAME" set default_transaction_isolation = 'read committed';
  alter role :"operator" in database :"DBNAME" set default_transaction_read_only = off;
  alter role :"operator" in database :"DBNAME" set default_transaction_deferrable = off;
\endif

\if :{?worker}
  grant identity_worker to :"worker";
  alter role :"worker" in database :"DBNAME" set search_path = identity_sync, "$user";
  alter role :"worker" in database :"DBNAME" set default_transaction_isolation = 'read committed';
  alter role :"worker" in database :"DBNAME" set default_transaction_read_only = off;
  alter role :"worker" in database :"DBNAME" set default_transaction_deferrable = off;
  alter role :"worker" in database :"DBNAME" set statement_timeout = '10min';
  alter role :"worker" in database :"DBNAME" set lock_timeout = '1min';
  alter role :"worker" in database :"DBNAME" set idle_session_timeout = 0;
\endif

commit;
