-- Looks at all that a run, or an operator, needs of database and login, and names each fault with its cure, before a
-- night finds it. It runs with its caller's rights, since these are what it looks at, and changes nothing. What only a
-- run needs is no fault of an operator's login.
create or replace function identity_sync.identity_check(
  known text[], asked_at timestamptz default clock_timestamp(), sslmode text default null, has_lml boolean default true
)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with fact as (
    select
      callable.*,
      case when is_operator and not is_worker then 'operator' else 'worker' end as role,
      (select pg_has_role(nspowner, 'USAGE') from pg_namespace where nspname = 'identity_sync') as is_owner,
      array_to_string(identity_sync.lost_columns(), ', ') as lost,
      identity_sync.missing_migrations(known) as lacking,
      (select string_agg(filename, ', ' order by filename) from graphile_migrate.migrations where hash <> all (known))
        as newer,
      round(1000 * extract(epoch from clock_timestamp() - asked_at)) as ahead_ms,
      (select ssl from pg_stat_ssl where pid = pg_backend_pid()) as is_encrypted,
      coalesce(inet_client_addr() <<= '127.0.0.0/8' or inet_client_addr() = '::1', true) as is_local,
      identity_sync_private.closed_queue() as closed,
      identity_sync_private.unsuitable_settings() as unsuitable
    from (
      select
        -- Each of them: a migrate may have made one anew, without its grants.
        bool_and(has_function_privilege(oid, 'EXECUTE')) filter (where proname <> 'undo_identity_run') as is_worker,
        bool_and(has_function_privilege(oid, 'EXECUTE')) filter (where proname = 'undo_identity_run') as is_operator
      from pg_proc
      where pronamespace = 'identity_sync'::regnamespace
        and proname in ('plan_identity_run', 'claim_identity_batch', 'finish_identity_call', 'undo_identity_run')
    ) as callable
  ),
  seen as (
    select
      1 as place, 'database' as name,
      case
        when pg_is_in_recovery() or current_setting('default_transaction_read_only')::boolean
          or current_setting('server_version_num')::integer < 140000 or current_setting('server_encoding') <> 'UTF8'
        then 'fail'
        else 'ok'
      end as status,
      format(
        'PostgreSQL %s, %s, time zone %s%s', current_setting('server_version'), current_setting('server_encoding'),
        current_setting('TimeZone'),
        case
          when pg_is_in_recovery() then '; a standby, which takes no write'
          when current_setting('default_transaction_read_only')::boolean then '; transactions are read only by default'
          else ''
        end
      ) as message,
      'A primary in UTF8 of PostgreSQL 14 or newer, and default_transaction_read_only = off.' as cure
    from fact
    union all
    select
      2, 'TLS',
      case when is_local or is_encrypted and sslmode like 'verify-%' then 'ok' else 'warn' end,
      case
        when is_encrypted then format(
          'encrypted, sslmode %s%s', coalesce(sslmode, 'not known'),
          case when sslmode like 'verify-%' then '' else ': it proves nothing about the server' end
        )
        when is_local then 'none, and none needed on one machine'
        else 'none: all that is read and written crosses the network in the open'
      end,
      'DATABASE_URL with sslmode=verify-full and sslrootcert (README, "The way to the database").'
    from fact
    union all
    select
      3, 'clock', case when abs(ahead_ms) < 30000 then 'ok' else 'warn' end,
      case
        when abs(ahead_ms) < 1000 then 'as ours, within a second'
        when ahead_ms > 0 then format('%s s ahead of ours', round(ahead_ms / 1000))
        else format('%s s behind ours', round(-ahead_ms / 1000))
      end,
      'Have both machines take their time from NTP: log and tables disagree until then.'
    from fact
    union all
    select
      4, 'login', case when is_worker or is_operator then 'ok' else 'fail' end,
      format(
        '%I may %s', current_user,
        concat_ws(', ', case when is_worker then 'run and work' end, case when is_operator then 'repair' end,
          case when is_owner then 'migrate' end, case when not is_worker then 'not run: it is no worker' end)
      ),
      format(
        'psql "$DBA_URL" -v worker=%1$I -f sql/roles.sql, or -v operator=%1$I (README, "Which login").', current_user
      )
    from fact
    union all
    select
      5, 'session', case when unsuitable is null then 'ok' else 'warn' end,
      coalesce(unsuitable, 'isolation and timeouts suit a run'),
      format('psql "$DBA_URL" -v %s=%I -f sql/roles.sql sets them for this login.', role, current_user)
    from fact
    union all
    select
      6, 'schema', case when newer is null and lacking = 0 then 'ok' else 'fail' end,
      case
        when newer is not null then 'newer than this program: it has ' || newer
        when lacking > 0 then format('older than this program: it lacks %s of its migrations', lacking)
        else 'as this program'
      end,
      case
        when newer is not null then 'Deploy the version of identity-sync that made these migrations, or a newer one.'
        else 'identity-sync migrate as its owner, then sql/roles.sql.'
      end
    from fact
    union all
    select
      7, 'columns', case when lost = '' then 'ok' else 'fail' end,
      case when lost = '' then 'all there' else 'wxyc_schema lacks ' || lost end,
      'Add what is gone: identity-sync migrate names each column with its type.'
    from fact
    union all
    select
      8, 'queue',
      case when to_regnamespace('graphile_worker') is null or is_worker and closed <> '' then 'fail' else 'ok' end,
      case
        when to_regnamespace('graphile_worker') is null then 'graphile-worker''s schema is not there'
        when not is_worker then 'not needed by this login'
        else coalesce('closed to this login: ' || closed, 'open to this login')
      end,
      format('identity-sync migrate, then psql "$DBA_URL" -v %s=%I -f sql/roles.sql', role, current_user)
    from fact
    union all
    select
      9, 'LML', case when is_worker then 'fail' else 'ok' end,
      'LIBRARY_METADATA_URL is not set' || case when is_worker then '' else ', and only a run needs it' end,
      'LIBRARY_METADATA_URL says where LML is.'
    from fact
    where not has_lml
    union all
    select
      10, 'planning', 'warn',
      format(
        'on hold since %s UTC (%s): %s',
        to_char(hold.since at time zone 'UTC', 'YYYY-MM-DD HH24:MI'), hold.name, hold.reason
      ),
      format('identity-sync resume %s, when what is behind it is cured.', hold.name)
    from identity_sync_private.holds_in_force() as hold
  )
  select jsonb_agg(
    jsonb_build_object(
      'check', seen.name, 'status', seen.status, 'message', seen.message,
      'cure', case when seen.status <> 'ok' then seen.cure end
    )
    order by seen.place, seen.message
  )
  from seen;
$$;

revoke all on function identity_sync.identity_check(text[], timestamptz, text, boolean) from public;

comment on function identity_sync.identity_check(text[], timestamptz, text, boolean) is
  'Takes the hashes of the migrations that a program brings, its time, its sslmode, and whether it knows where LML is; returns what a worker''s or an operator''s login needs, each as check, status (ok, warn, or fail where a run, or a repair by an operator, would fail), message and cure.';
