-- Shows how things stand: psql "$DATABASE_URL" -f sql/status.sql
-- Reads only: the last ten runs, the rows due now, those of unknown age, coverage, quarantine and the gate.

\echo 'Runs'
select run_id, scope, dry_run, planned, done, batches_left, started_at, took, outcome, outcome_reason
from identity_sync.run_progress
limit 10;

\echo 'Due now'
select cohort, count(*) as due
from identity_sync.identity_candidates()
group by cohort
order by cohort;

\echo 'Never asked, for want of an artist name'
select count(*) as without_artist_name
from wxyc_schema.library
where identity_sync.is_blank(artist_name);

\echo 'Never asked, since a person has said that they are not on Discogs'
select count(*) as not_on_discogs
from identity_sync_private.libraries_not_on_discogs();

\echo 'Of unknown age, since their time is ahead of the clock'
select
  (
    select count(*)
    from wxyc_schema.library_identity
    where not identity_sync_private.is_plausible_time(last_verified_at)
  ) as identities,
  (
    select count(*)
    from identity_sync.attempt
    where not identity_sync_private.is_plausible_time(attempted_at)
  ) as attempts;

\echo 'Coverage'
select * from identity_sync.coverage;

\echo 'Quarantine'
select outcome, count(*) as open_entries, min(quarantined_at) as since
from identity_sync.quarantine
group by outcome
order by outcome;

\echo 'Gate'
select * from identity_sync.gate;
