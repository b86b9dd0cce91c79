-- A login whose transactions are read only by default could not even be told so.
set transaction_read_only = off;

-- Names each publication that would publish tables or columns which the migrations make. One that names columns never
-- does. PostgreSQL 14 has no publications of schemas, and no table of them.
create function pg_temp.publications_of_what_is_made()
returns text[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  growing oid[] := array(
    select relation.oid
    from (
      values
        (to_regclass('wxyc_schema.library_identity')),
        (to_regclass('wxyc_schema.library_identity_history'))
    ) as relation (oid)
    where (
      select count(*)
      from pg_attribute
      where attrelid = relation.oid
        and attname in ('discogs_artist_id', 'musicbrainz_artist_id', 'bandcamp_id')
        and not attisdropped
    ) < 3
  );
  schemas text[] := '{identity_sync, identity_sync_private, graphile_migrate, graphile_worker}';
  found text[] := array(
    select format('publication %s is FOR ALL TABLES', pubname) from pg_publication where puballtables order by pubname
  );
begin
  -- A table that is missing is made in the station's schema, and one that lacks columns gets them.
  if growing <> '{}' then
    schemas := schemas || 'wxyc_schema'::text;
  end if;
  if to_regclass('pg_catalog.pg_publication_namespace') is not null then
    execute $query$
      select $1 || array_agg(format('publication %s is FOR TABLES IN SCHEMA %s', pubname, nspname) order by 1)
      from pg_publication
      join pg_publication_namespace on pnpubid = pg_publication.oid
      join pg_namespace on pg_namespace.oid = pnnspid
      where nspname = any ($2)
    $query$ into found using found, schemas;
  end if;
  return found || array(
    select format('publication %s has %s', pubname, prrelid::regclass)
    from pg_publication_rel
    join pg_publication on pg_publication.oid = prpubid
    where prrelid = any (growing) and to_jsonb(pg_publication_rel) ->> 'prattrs' is null
    order by 1
  );
end;
$$;

-- Names the functions of triggers that need a search_path: the writer runs with pg_catalog, pg_temp, and so do the
-- triggers of its tables that set none.
create function pg_temp.triggers_without_search_path()
returns text[]
language sql
set search_path = pg_catalog, pg_temp
as $$
  select array(
    select format(
      'a search_path for function %s, which the trigger %I of %s runs: it names %s without a schema; '
        'alter function %1$s set search_path = …',
      pg_proc.oid::regprocedure, pg_trigger.tgname, pg_trigger.tgrelid::regclass, string_agg(distinct named.name, ', ')
    )
    from pg_trigger
    join pg_proc on pg_proc.oid = pg_trigger.tgfoid
    join pg_language on pg_language.oid = pg_proc.prolang and pg_language.lanname = 'plpgsql'
    cross join lateral (
      -- Without strings and comments.
      select lower(regexp_replace(pg_proc.prosrc, '''[^'']*''|--[^\n]*|/\*.*?\*/', ' ', 'g')) as body
    ) as source
    cross join lateral (
      select hit.words[1] as name
      from regexp_matches(
        source.body, '\m(?:from|join|insert\s+into|update)\s+(?:only\s+)?([a-z_][a-z0-9_]*)\M(?!\s*\.)', 'g'
      ) as hit (words)
      where exists (select from pg_class where relname = hit.words[1] and relkind in ('r', 'v', 'm', 'p', 'f'))
        and not exists (select from pg_class where relname = hit.words[1] and relnamespace = 'pg_catalog'::regnamespace)
        and source.body !~ ('\m' || hit.words[1] || '\s+as\s*(not\s+|materialized\s+)*\(')
      union
      select hit.words[1] || '()'
      from regexp_matches(source.body, '(?<![.a-z0-9_"])([a-z_][a-z0-9_]*)\s*\(', 'g') as hit (words)
      where exists (select from pg_proc as called where called.proname = hit.words[1])
        and not exists (
          select
          from pg_proc as called
          where called.proname = hit.words[1] and called.pronamespace = 'pg_catalog'::regnamespace
        )
    ) as named
    where pg_trigger.tgrelid = any (array[
        to_regclass('wxyc_schema.library_identity'),
        to_regclass('wxyc_schema.library_identity_source'),
        to_regclass('wxyc_schema.library_identity_history'),
        to_regclass('wxyc_schema.compilation_track_artist')
      ])
      and not pg_trigger.tgisinternal
      and pg_trigger.tgenabled <> 'D'
      and not exists (select from unnest(pg_proc.proconfig) as setting where setting ~ '^search_path=')
    group by pg_proc.oid, pg_trigger.tgname, pg_trigger.tgrelid
  );
$$;

-- Who takes what publications hold: the slots of subscribers, or NULL.
create function pg_temp.slots_of_subscribers()
returns text
language sql
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(
    format('%s (%s)', slot_name, case when active then 'active' else 'not active' end), ', ' order by slot_name
  )
  from pg_replication_slots
  where plugin = 'pgoutput' and database = current_database();
$$;

-- What `identity-sync migrate` checks before it changes anything. It is a function of the session, so it leaves nothing
-- behind. It raises LS005 with everything that is missing, each with its remedy, and with the publications that would
-- take what is made here to subscribers without it. It returns the settings of the sessions that migrate.
create function pg_temp.check_before_migrating(
  known_migrations text[], migration_texts text[] default '{}', publications_are_seen_to boolean default false
)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  missing text[] := '{}';
  newer text[];
  seen text[] := '{}';
  published text[] := '{}';
begin
  if current_setting('server_version_num')::integer < 140000 then
    missing := missing || format('PostgreSQL 14 or newer: this is %s', current_setting('server_version'));
  end if;
  if current_setting('server_encoding') <> 'UTF8' then
    missing := missing || format('a database in UTF8: this one is in %s', current_setting('server_encoding'));
  end if;

  -- A schema that another role made cannot even be read without that role's rights. A superuser has them all, and would
  -- run with his own rights what that role has put there.
  missing := missing || array(
    select format('ownership of schema %s: it belongs to %I, and this is %I; migrate as its owner%s',
      own.name, pg_get_userbyid(pg_namespace.nspowner), current_user,
      case when not login.rolsuper then format(
        ', or grant %I to %I', pg_get_userbyid(pg_namespace.nspowner), current_user
      ) end)
    from unnest(array['identity_sync', 'identity_sync_private', 'graphile_migrate', 'graphile_worker']) as own (name)
    join pg_namespace on pg_namespace.nspname = own.name
    join pg_roles as login on login.rolname = current_user
    where case
      when login.rolsuper then pg_namespace.nspowner <> login.oid
      else not pg_has_role(pg_namespace.nspowner, 'USAGE')
    end
  );
  -- Without this right, every check in the station's schema would fail.
  if to_regnamespace('wxyc_schema') is not null and not has_schema_privilege('wxyc_schema', 'USAGE') then
    missing := missing || format('USAGE on schema wxyc_schema: grant it to %I', current_user);
  end if;
  if missing <> '{}' then
    raise exception using
      errcode = 'LS005',
      message = format('this database is not ready, it lacks: %s', array_to_string(missing, '; ')),
      hint = 'Nothing was changed.';
  end if;

  if to_regclass('graphile_migrate.migrations') is not null then
    execute $query$
      select array_agg(filename order by filename) filter (where hash <> all ($1)), coalesce(array_agg(hash), '{}')
      from graphile_migrate.migrations
    $query$
      into newer, seen
      using known_migrations;
    if newer is not null then
      raise exception using
        errcode = 'LS005',
        message = format('this database is newer than this program: it has %s', array_to_string(newer, ', ')),
        hint = 'Deploy the version of identity-sync that made these migrations, or a newer one. Nothing was changed.';
    end if;
  end if;

  -- The backend's tables must be there; identity tables that already exist must have these columns.
  missing := missing || array(
    select
      case
        when to_regclass(needed.relation) is null
        then format('table %s: is this the station''s database?', needed.relation)
        else format('column %s of %s, of type %s%s', needed.name, needed.relation,
          array_to_string(needed.types, ' or '), coalesce(': it is ' || format_type(found.atttypid, null), ''))
      end
    from (
      values
        ('wxyc_schema.library', 'id', '{integer}'::text[]),
        ('wxyc_schema.library', 'artist_id', '{integer}'),
        ('wxyc_schema.library', 'artist_name', '{character varying,text}'),
        ('wxyc_schema.library', 'album_title', '{character varying,text}'),
        ('wxyc_schema.library', 'legacy_release_id', '{integer}'),
        ('wxyc_schema.library', 'code_volume_letters', '{character varying,text,character}'),
        ('wxyc_schema.library', 'canonical_entity_id', '{text,character varying}'),
        ('wxyc_schema.artists', 'id', '{integer}'),
        ('wxyc_schema.artists', 'artist_name', '{character varying,text}'),
        ('wxyc_schema.compilation_track_artist', 'id', '{integer}'),
        ('wxyc_schema.compilation_track_artist', 'library_id', '{integer}'),
        ('wxyc_schema.compilation_track_artist', 'artist_name', '{character varying,text}'),
        ('wxyc_schema.compilation_track_artist', 'track_title', '{character varying,text}'),
        ('wxyc_schema.compilation_track_artist', 'track_position', '{character varying,text}'),
        ('wxyc_schema.compilation_track_artist', 'track_artist_id', '{integer}'),
        ('wxyc_schema.compilation_track_artist', 'track_artist_link_confidence', '{real}'),
        ('wxyc_schema.compilation_track_artist', 'track_artist_link_method', '{text,character varying}'),
        ('wxyc_schema.library_identity', 'library_id', '{integer}'),
        ('wxyc_schema.library_identity', 'discogs_master_id', '{integer}'),
        ('wxyc_schema.library_identity', 'discogs_release_id', '{integer}'),
        ('wxyc_schema.library_identity', 'musicbrainz_release_group_mbid', '{uuid}'),
        ('wxyc_schema.library_identity', 'musicbrainz_release_mbid', '{uuid}'),
        ('wxyc_schema.library_identity', 'musicbrainz_recording_mbid', '{uuid}'),
        ('wxyc_schema.library_identity', 'wikidata_qid', '{text}'),
        ('wxyc_schema.library_identity', 'spotify_id', '{text}'),
        ('wxyc_schema.library_identity', 'apple_music_id', '{text}'),
        ('wxyc_schema.library_identity', 'last_verified_at', '{timestamp with time zone}'),
        ('wxyc_schema.library_identity', 'method', '{text}'),
        ('wxyc_schema.library_identity', 'confidence', '{real}'),
        ('wxyc_schema.library_identity', 'agreement_sources', '{text}'),
        ('wxyc_schema.library_identity', 'notes', '{text}'),
        ('wxyc_schema.library_identity_source', 'library_id', '{integer}'),
        ('wxyc_schema.library_identity_source', 'source', '{text}'),
        ('wxyc_schema.library_identity_source', 'external_id', '{text}'),
        ('wxyc_schema.library_identity_source', 'method', '{text}'),
        ('wxyc_schema.library_identity_source', 'confidence', '{real}'),
        ('wxyc_schema.library_identity_source', 'last_verified_at', '{timestamp with time zone}'),
        ('wxyc_schema.library_identity_source', 'boost_sources', '{text}'),
        ('wxyc_schema.library_identity_source', 'notes', '{text}'),
        ('wxyc_schema.library_identity_history', 'history_id', '{integer}'),
        ('wxyc_schema.library_identity_history', 'library_id', '{integer}'),
        ('wxyc_schema.library_identity_history', 'discogs_master_id', '{integer}'),
        ('wxyc_schema.library_identity_history', 'discogs_release_id', '{integer}'),
        ('wxyc_schema.library_identity_history', 'musicbrainz_release_group_mbid', '{uuid}'),
        ('wxyc_schema.library_identity_history', 'musicbrainz_release_mbid', '{uuid}'),
        ('wxyc_schema.library_identity_history', 'musicbrainz_recording_mbid', '{uuid}'),
        ('wxyc_schema.library_identity_history', 'wikidata_qid', '{text}'),
        ('wxyc_schema.library_identity_history', 'spotify_id', '{text}'),
        ('wxyc_schema.library_identity_history', 'apple_music_id', '{text}'),
        ('wxyc_schema.library_identity_history', 'last_verified_at', '{timestamp with time zone}'),
        ('wxyc_schema.library_identity_history', 'method', '{text}'),
        ('wxyc_schema.library_identity_history', 'confidence', '{real}'),
        ('wxyc_schema.library_identity_history', 'agreement_sources', '{text}'),
        ('wxyc_schema.library_identity_history', 'notes', '{text}'),
        ('wxyc_schema.library_identity_history', 'superseded_reason', '{text}'),
        ('wxyc_schema.library_identity_history', 'reason_category', '{text}'),
        ('wxyc_schema.library_identity', 'discogs_artist_id', '{integer}'),
        ('wxyc_schema.library_identity', 'musicbrainz_artist_id', '{text}'),
        ('wxyc_schema.library_identity', 'bandcamp_id', '{text}'),
        ('wxyc_schema.library_identity_history', 'discogs_artist_id', '{integer}'),
        ('wxyc_schema.library_identity_history', 'musicbrainz_artist_id', '{text}'),
        ('wxyc_schema.library_identity_history', 'bandcamp_id', '{text}')
    ) as needed (relation, name, types)
    left join pg_attribute as found
      on found.attrelid = to_regclass(needed.relation) and found.attname = needed.name and not found.attisdropped
    where case
      -- A missing identity table is no fault, since the migrations create it.
      when to_regclass(needed.relation) is null then needed.name = 'id'
      -- The migrations add the columns of artists' ids; where they ran, such a column was lost.
      when found.attname is null
        and needed.name in ('discogs_artist_id', 'musicbrainz_artist_id', 'bandcamp_id')
        and needed.relation ~ 'identity'
      then to_regclass('identity_sync.run') is not null
      else found.attname is null or format_type(found.atttypid, null) <> all (needed.types)
    end
  );

  if to_regprocedure('wxyc_schema.fold_artist_name(text)') is null then
    missing := missing || 'function wxyc_schema.fold_artist_name(text), which the backend''s own migrations make'::text;
  elsif not has_function_privilege('wxyc_schema.fold_artist_name(text)', 'EXECUTE') then
    missing := missing
      || format('EXECUTE on function wxyc_schema.fold_artist_name(text): grant it to %I', current_user);
  end if;

  missing := missing || pg_temp.triggers_without_search_path();

  -- The rights that this login needs.
  missing := missing || array(
    select format('ownership of %s: it belongs to %I, and this is %I; migrate as its owner, or grant %I to %I',
      owned.relation, pg_get_userbyid(pg_class.relowner), current_user, pg_get_userbyid(pg_class.relowner),
      current_user)
    from (
      values
        ('wxyc_schema.library_identity'),
        ('wxyc_schema.library_identity_source'),
        ('wxyc_schema.library_identity_history')
    ) as owned (relation)
    join pg_class on pg_class.oid = to_regclass(owned.relation)
    where not pg_has_role(pg_class.relowner, 'USAGE')
  );

  if to_regclass('wxyc_schema.library') is not null then
    if not has_table_privilege('wxyc_schema.library', 'SELECT') then
      missing := missing || format('SELECT on wxyc_schema.library: grant it to %I', current_user);
    end if;
    if to_regclass('wxyc_schema.library_identity') is null
      and not has_table_privilege('wxyc_schema.library', 'REFERENCES')
    then
      missing := missing || format('REFERENCES on wxyc_schema.library: grant it to %I', current_user);
    end if;
    if to_regclass('wxyc_schema.library_identity') is null and not has_schema_privilege('wxyc_schema', 'CREATE') then
      missing := missing || format('CREATE on schema wxyc_schema: grant it to %I', current_user);
    end if;
  end if;
  if to_regclass('wxyc_schema.artists') is not null and not has_table_privilege('wxyc_schema.artists', 'SELECT') then
    missing := missing || format('SELECT on wxyc_schema.artists: grant it to %I', current_user);
  end if;
  if to_regclass('wxyc_schema.compilation_track_artist') is not null
    and not (
      has_table_privilege('wxyc_schema.compilation_track_artist', 'SELECT')
      and has_any_column_privilege('wxyc_schema.compilation_track_artist', 'UPDATE')
    )
  then
    missing := missing
      || format('SELECT and UPDATE on wxyc_schema.compilation_track_artist: grant them to %I', current_user);
  end if;
  if exists (
    select
    from unnest(array['identity_sync', 'identity_sync_private', 'graphile_worker', 'graphile_migrate']) as own
    where to_regnamespace(own) is null
  )
    and not has_database_privilege(current_database(), 'CREATE')
  then
    missing := missing || format('CREATE on database %I: grant it to %I', current_database(), current_user);
  end if;

  -- The sessions that make graphile-worker's schema keep the login's defaults.
  if current_setting('default_transaction_read_only')::boolean then
    missing := missing || format(
      'transactions that write: alter role %I in database %I set default_transaction_read_only = off',
      current_user, current_database()
    );
  end if;

  -- A subscriber stops at the first row of a table or column that it lacks, and its slot then keeps this server's WAL.
  if not publications_are_seen_to
    and exists (
      select
      from unnest(known_migrations, migration_texts) as brought (hash, text)
      where brought.hash <> all (seen) and brought.text ~* '(?n)^\s*(create( unlogged)?|alter) table\M'
    )
    and pg_temp.slots_of_subscribers() is not null
  then
    published := pg_temp.publications_of_what_is_made();
  end if;

  if missing <> '{}' or published <> '{}' then
    raise exception using
      errcode = 'LS005',
      message = concat_ws(
        '; ',
        'this database is not ready, it lacks: ' || array_to_string(nullif(missing, '{}'), '; '),
        case
          when published <> '{}' then format(
            'subscribers lack what is made here, and would stop while this server keeps its WAL for them: %s, slot %s. '
              'Migrate each subscriber first, then here with --publications-are-seen-to (README, "Publications")',
            array_to_string(published, ', '),
            pg_temp.slots_of_subscribers()
          )
        end
      ),
      hint = 'Nothing was changed.';
  end if;

  -- A role or a database may have defaults that suit its other sessions, and stop a migration half-way.
  return (
    select jsonb_object_agg(wanted.name, wanted.value)
    from (
      values
        -- The station's own queries queue up behind a migration that waits for an exclusive lock, so each try is short.
        -- It is shorter than deadlock_timeout too, and gives up before it can be part of a deadlock that is found.
        ('lock_timeout', '100ms'),
        ('statement_timeout', '0'),
        ('transaction_timeout', '0'),
        ('idle_session_timeout', '0'),
        ('idle_in_transaction_session_timeout', '0'),
        ('default_transaction_isolation', 'read committed'),
        -- What a migration makes is bound to what it finds, and everybody may put functions into schema public.
        ('search_path', 'pg_catalog, pg_temp')
    ) as wanted (name, value)
    join pg_settings using (name)
  );
end;
$$;
