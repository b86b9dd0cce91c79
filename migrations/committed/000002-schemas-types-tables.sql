--! Previous: sha1:8dff03bd2e54f394738a7e6b9ad21b974a16706d
--! Hash: sha1:5e683946ca8f34ca09d1cd76a4958ffda45e980a
--! Message: schemas, types, tables

-- The product's own schemas, types and tables.

create schema identity_sync;

comment on schema identity_sync is
  'Keeps the identity tables in step with LML: what people and programs may call and read.';

create schema identity_sync_private;

comment on schema identity_sync_private is
  'What the functions of identity_sync are made of: their helpers and types, for no caller outside.';

-- A verdict while it is judged and written. Named as in the report; the ids as the main row''s columns are called.

create type identity_sync_private.judged_source as (
  source text,
  external_id text,
  method text,
  confidence real,
  out_of_band boolean
);

-- A track is judged once a key: (artist_name, track_title) of its credit. An unusable entry has no artist_name.
create type identity_sync_private.judged_track as (
  artist_name text,
  track_title text,
  resolved_artist_name text,
  confidence real,
  confidence_out_of_range boolean,
  track_position text,
  ambiguous_position boolean
);

-- Why the database refused a verdict.
create type identity_sync_private.writer_refusal as (
  sqlstate text,
  message text,
  constraint_name text
);

-- The judge fills all but action, version and refusal, and the writer returns the verdict with its final outcome: action
-- (inserted, changed, unchanged) is what became of the main row, version the ctid of that row where it was to be updated.
create type identity_sync_private.judged_verdict as (
  ordinal integer,
  library_id integer,
  outcome text,
  discogs_artist_id integer,
  musicbrainz_artist_id text,
  wikidata_qid text,
  spotify_id text,
  apple_music_id text,
  bandcamp_id text,
  method text,
  confidence real,
  sources identity_sync_private.judged_source[],
  null_confidence integer,
  duplicate integer,
  out_of_band integer,
  action text,
  version tid,
  refusal identity_sync_private.writer_refusal,
  unknown integer
);

-- A change to a source row: inserted, changed or removed. is_of_new_identity is known where the verdict names the row: a
-- new identity is undone as a whole, so that what was inserted with it needs no record of its own.
create type identity_sync_private.source_change as (
  library_id integer,
  source text,
  external_id text,
  method text,
  confidence real,
  action text,
  version tid,
  is_of_new_identity boolean
);

-- What the sources of a batch change: rows of new identities that need no comparing are counted alone, the others are
-- listed as well. The counts inserted, changed, unchanged and removed are those of the listed.
create type identity_sync_private.compared_sources as (
  uncompared integer,
  changes identity_sync_private.source_change[],
  inserted integer,
  changed integer,
  unchanged integer,
  removed integer
);

-- A change to a credit, the id of which is credit_id.
create type identity_sync_private.track_change as (
  credit_id integer,
  version tid,
  action text,
  track_artist_id integer,
  confidence real,
  new_position text
);

-- The counts are those of the report's compilation_track; linked are the credits that had no link, positioned those whose
-- position is filled.
create type identity_sync_private.compared_tracks as (
  changes identity_sync_private.track_change[],
  linked integer[],
  positioned integer[],
  counts jsonb
);

create type identity_sync_private.refusal as (
  path text,
  value jsonb,
  reason text
);

-- What the writer did: its verdicts with their final outcomes, and what the report and undoing need besides.
create type identity_sync_private.write_result as (
  verdicts identity_sync_private.judged_verdict[],
  history_ids integer[],
  source_inserted integer,
  source_changed integer,
  source_unchanged integer,
  source_removed integer,
  linked_credit_ids integer[],
  positioned_credit_ids integer[],
  compilation_track jsonb,
  written_by xid[]
);

-- A library that a settlement wrote, and whether it can be taken back: fate is undone, newer or held. was_absent: it had
-- no main row before; history_id is that row as it was; is_there whether it has one now.
create type identity_sync_private.undoing as (
  library_id integer,
  was_absent boolean,
  history_id integer,
  is_there boolean,
  fate text
);

create table identity_sync.run (
  run_id bigint generated always as identity primary key,
  scope text not null check (
    scope in ('due', 'refresh', 'recheck', 'ids', 'repair', 'preview', 'replay', 'hold', 'release', 'undo')
  ),
  of_run_id bigint,
  dry_run boolean not null,
  stale_days integer not null,
  unresolved_retry_days integer not null,
  include_null_canonical boolean not null,
  partition_index integer not null,
  partition_count integer not null,
  ids integer[],
  strict_bands boolean not null,
  accept text[] not null default '{}' check (accept <@ array['unresolved', 'refused', 'changed']),
  call_budget integer,
  batch_size integer not null,
  va_batch_size integer not null,
  deadline_at timestamptz not null,
  planned integer not null default 0,
  in_other_runs integer[] not null default '{}',
  held_by_runs bigint[] not null default '{}',
  unaskable_ids integer[] not null default '{}',
  opened_by text not null,
  scheduled boolean not null,
  trace_id text not null default replace(gen_random_uuid()::text, '-', ''),
  started_at timestamptz not null default clock_timestamp(),
  paused_until timestamptz,
  pauses integer not null default 0,
  braked_at timestamptz,
  braked_by text check (braked_by in ('unresolved', 'refused', 'changed')),
  stop_cause text check (stop_cause in ('hand', 'deadline', 'budget', 'key', 'brake', 'breaker')),
  stop_reason text,
  finished_at timestamptz,
  report jsonb,
  reported_at timestamptz,
  alerted_at timestamptz,
  batches_pruned_at timestamptz,
  outcome text check (outcome in ('completed', 'failed', 'stopped')),
  outcome_reason text,
  check ((finished_at is null) = (outcome is null)),
  check ((stop_reason is null) = (stop_cause is null)),
  check (reported_at is null or finished_at is not null),
  check (batches_pruned_at is null or finished_at is not null),
  check ((braked_at is null) = (braked_by is null))
);

comment on table identity_sync.run is
  'A run: one pass over the rows that were due when it was planned, or one call of the writer by hand. It keeps its report.';

comment on column identity_sync.run.scope is
  'Which rows were planned; or what was done by hand: repair, preview (applied), replay, hold, release, undo.';
comment on column identity_sync.run.of_run_id is
  'The run that was undone, replayed, or previewed, of one by hand.';
comment on column identity_sync.run.accept is 'The gauges of the brake that do not stop this run.';
comment on column identity_sync.run.in_other_runs is
  'Candidates that were in a batch of another open run when this one was planned; they are left to it.';
comment on column identity_sync.run.held_by_runs is 'The runs that those candidates are left to.';
comment on column identity_sync.run.unaskable_ids is
  'Ids named for the scope ids that are not in library, or have no artist name there, when the run is planned.';
comment on column identity_sync.run.paused_until is
  'No batch is claimed before: LML asked for a pause, or several batches failed in a row.';
comment on column identity_sync.run.trace_id is 'The trace of the run, shared by all processes that carry it.';
comment on column identity_sync.run.braked_at is
  'When the brake stopped the run, because what LML answered looked like a fault of LML.';
comment on column identity_sync.run.braked_by is
  'The gauge that stopped the run: unresolved, refused or changed.';
comment on column identity_sync.run.reported_at is 'When a process took the finished run to report it to Sentry.';
comment on column identity_sync.run.alerted_at is 'When a process took the end of the run to send an alert of it.';
comment on column identity_sync.run.batches_pruned_at is
  'When its batches, calls and kept answers were pruned; from then on a dry run cannot be applied any more.';

-- One open run a scope: the guard against a retried job and the next tick of its cron running side by side. A run that
-- stops only waits for its calls in flight, and another may be opened.
create unique index run_one_open_idx
  on identity_sync.run (scope, partition_index, partition_count, (hash_array_extended(coalesce(ids, '{}'), 0)), dry_run)
  where finished_at is null and stop_cause is null;
create index run_open_idx on identity_sync.run (run_id) where finished_at is null;

create table identity_sync.batch (
  batch_id bigint generated always as identity primary key,
  run_id bigint not null references identity_sync.run on delete cascade,
  cohort text not null check (cohort in ('va', 'non_va')),
  library_ids integer[] not null,
  root_batch_id bigint references identity_sync.batch on delete cascade,
  state text not null default 'open'
    check (state in ('open', 'in_flight', 'answered', 'applied', 'empty', 'poisoned', 'failed', 'split', 'abandoned')),
  is_done boolean not null generated always as (state in ('applied', 'empty', 'poisoned', 'failed')) stored,
  tries integer not null default 0,
  deferrals integer not null default 0,
  not_before timestamptz,
  leased_by text,
  leased_until timestamptz,
  asked_as bigint[],
  answer text,
  answered_at timestamptz,
  failure text,
  closed_at timestamptz,
  check (leased_by is null or state in ('in_flight', 'answered')),
  check (leased_by is not null or answer is not null or state not in ('in_flight', 'answered')),
  check ((leased_by is null) = (leased_until is null)),
  check ((state in ('open', 'in_flight', 'answered')) = (closed_at is null)),
  check ((state = 'applied' or answer is not null) = (answered_at is not null)),
  check (answer is null or state in ('answered', 'applied')),
  check ((state in ('poisoned', 'failed', 'split')) = (failure is not null)),
  check (state <> 'poisoned' or cardinality(library_ids) = 1)
);

comment on table identity_sync.batch is
  'A batch: up to BATCH_SIZE libraries of one cohort, asked in one call. Its lease lets another lane take over from a dead process.';

comment on column identity_sync.batch.root_batch_id is
  'The batch as it was planned, of which this is a part, cut to find an input that LML refuses or fails on.';
comment on column identity_sync.batch.is_done is
  'Whether its rows are counted in the report: neither cut nor left due.';
comment on column identity_sync.batch.tries is 'Calls that failed and are charged; a deferral is not.';
comment on column identity_sync.batch.asked_as is
  'The fingerprints of the last request, in the order of library_ids; NULL for a library that was left out of it.';
comment on column identity_sync.batch.answer is
  'LML''s answer as it came: of a dry run kept, to be applied later; of an answered batch kept until other sessions let go of its rows.';
comment on column identity_sync.batch.failure is 'Why the batch failed, was poisoned or was split.';

create index batch_run_idx on identity_sync.batch (run_id, batch_id);
create index batch_root_idx on identity_sync.batch (root_batch_id) where root_batch_id is not null;
create index batch_unfinished_idx on identity_sync.batch (run_id, batch_id) where closed_at is null;
-- A claim looks at what is in flight and at open runs, which are few beside what is open, over, or kept.
create index batch_held_idx
  on identity_sync.batch (run_id, batch_id)
  where closed_at is null and state in ('in_flight', 'answered');

create table identity_sync.lml_call (
  call_id bigint generated always as identity primary key,
  batch_id bigint not null references identity_sync.batch on delete cascade,
  leased_by text not null,
  inputs integer not null,
  started_at timestamptz not null default clock_timestamp(),
  answered_at timestamptz,
  latency_ms integer,
  http_status integer,
  failure text
);

comment on table identity_sync.lml_call is
  'A call to LML: how many inputs it carried, how it ended and how long it took. One without answered_at whose lease has ended died with its process.';

create index lml_call_batch_idx on identity_sync.lml_call (batch_id);

create table identity_sync.worker (
  name text primary key,
  turns bigint not null,
  concurrency integer not null,
  is_waiting boolean not null default false,
  asked_at timestamptz not null default clock_timestamp(),
  version text,
  plan_cron text,
  seen_at timestamptz
)
-- Each claim updates its worker's row, and no index holds what it changes.
with (fillfactor = 50);

comment on table identity_sync.worker is
  'A worker: a process that carries runs, and how many calls it has begun, so that workers that wait share the calls evenly.';

comment on column identity_sync.worker.turns is
  'Calls begun; a worker that asks is at most two behind the one that is furthest ahead.';
comment on column identity_sync.worker.is_waiting is 'Its latest claim found no place in flight.';
comment on column identity_sync.worker.version is 'Of the program that it runs.';
comment on column identity_sync.worker.plan_cron is 'The crontab time in UTC at which it plans; NULL: it plans nothing.';
comment on column identity_sync.worker.seen_at is
  'When it last said that it lives, which a worker does every five seconds and a run in the foreground every ten.';

create table identity_sync.settlement (
  settlement_id bigint generated always as identity primary key,
  run_id bigint,
  batch_id bigint,
  dry_run boolean not null default false,
  is_answer boolean not null default true,
  origin text not null,
  verified_at timestamptz not null,
  settled_by text not null default session_user,
  settled_at timestamptz not null default clock_timestamp(),
  requested integer not null,
  unrequested integer not null,
  report jsonb not null,
  inserted_ids integer[] not null default '{}',
  history_ids integer[] not null default '{}',
  linked_credit_ids integer[] not null default '{}',
  positioned_credit_ids integer[] not null default '{}',
  written_by xid[] not null default '{}',
  unresolved_counted integer not null default 0,
  unresolved_seen integer not null default 0,
  refused_counted integer not null default 0,
  refused_seen integer not null default 0,
  changed_counted integer not null default 0,
  changed_seen integer not null default 0,
  unknown_names text[] not null default '{}'
);

comment on table identity_sync.settlement is
  'A settlement: one call of the writer, with its report and what it wrote, for the run''s report and for taking it back.';

comment on column identity_sync.settlement.is_answer is
  'Whether LML answered; a failed, poisoned or empty batch has a settlement without an answer.';

comment on column identity_sync.settlement.unresolved_counted is
  'Rows that held an identity or had never been requested: of them the brake measures unresolved_seen.';
comment on column identity_sync.settlement.refused_counted is
  'Verdicts that were judged: of them the brake measures refused_seen.';
comment on column identity_sync.settlement.changed_counted is
  'Identities confirmed or changed, without rows renamed since they were asked last and what a run had written that this gauge stopped: of them the brake measures changed_seen, which name another artist.';
comment on column identity_sync.settlement.unknown_names is
  'The sources, methods and keys of a result that LML named and this service does not know.';
comment on column identity_sync.settlement.written_by is
  'The transactions (xmin) of the rows that it wrote or confirmed: a row with another was changed by somebody else since.';
comment on column identity_sync.settlement.linked_credit_ids is
  'Credits of compilation_track_artist that had no link before; what replaced one is in superseded_track_link.';

comment on column identity_sync.settlement.positioned_credit_ids is
  'Credits whose position was filled.';

create index settlement_batch_idx on identity_sync.settlement (batch_id) where batch_id is not null;
-- What said a row is found by the time of its answer, and what changed it by the time of the change.
create index settlement_verified_idx on identity_sync.settlement (verified_at);
create index settlement_settled_idx on identity_sync.settlement (settled_at);
create index settlement_run_idx on identity_sync.settlement (run_id, settlement_id) where run_id is not null;
-- The brake looks for the latest answers that it counts, after every answer; what is counted was judged.
create index settlement_brake_idx on identity_sync.settlement (run_id, settlement_id) where refused_counted > 0;

create table identity_sync.brake_memory (
  settlement_id bigint primary key references identity_sync.settlement on delete cascade,
  unresolved_ids integer[] not null,
  refused_ids integer[] not null,
  changed_ids integer[] not null,
  attempts_before jsonb
);

comment on table identity_sync.brake_memory is
  'What the brake needs to take an answer''s marks back: the rows that each gauge counted, and their attempts as they were.';

create table identity_sync.planning_hold (
  name text primary key check (name in ('paused', 'key_refused', 'brake')),
  reason text not null,
  run_id bigint,
  gauge text check (gauge in ('unresolved', 'refused', 'changed')),
  share numeric,
  since timestamptz not null default clock_timestamp(),
  ends_at timestamptz,
  alerted_at timestamptz
);

comment on table identity_sync.planning_hold is
  'A planning hold: why the cron plans nothing until a person has acted.';

comment on column identity_sync.planning_hold.ends_at is
  'When it ends by itself; NULL where a person lifts it.';
comment on column identity_sync.planning_hold.gauge is 'Of the brake: what it measured.';
comment on column identity_sync.planning_hold.share is 'Of the brake: the share of the rows counted, 0 to 1.';
comment on column identity_sync.planning_hold.alerted_at is 'When a process took the hold to send an alert of it.';

create table identity_sync.attempt (
  library_id integer primary key,
  outcome text not null check (
    outcome in (
      'unresolved', 'compilation', 'compilation_unread', 'invalid_verdict', 'writer_error', 'poison_input',
      'manual_precedence', 'released', 'held'
    )
  ),
  attempted_at timestamptz not null,
  settlement_id bigint,
  released_at timestamptz
)
-- Attempts move as often as identities are confirmed, and no index holds what moves.
with (fillfactor = 50);

comment on table identity_sync.attempt is
  'An attempt: the mark of an answer that left no fresh identity, so that the row is not asked again before its time.';

comment on column identity_sync.attempt.outcome is
  'The outcome of the last answer; released and held are an operator''s marks: the row is due, or is not asked, whatever else holds.';
comment on column identity_sync.attempt.released_at is
  'When an operator last released the library: an answer given before is a stale_verdict, also where a later mark stands.';

-- The writer asks of every batch whether one of its libraries was released since, which hardly any was.
create index attempt_released_idx on identity_sync.attempt (library_id) where released_at is not null;

-- What each library was called when LML last answered for it.
create table identity_sync.asked_as (
  library_id integer primary key,
  fingerprint bigint
);

comment on table identity_sync.asked_as is
  'The question of the last answer for a library: a fingerprint of the artist name and album title it was asked by. A library that is called otherwise now is due.';
comment on column identity_sync.asked_as.fingerprint is
  'NULL: the answer was taken back, and the library is due.';

create table identity_sync.quarantined_verdict (
  quarantine_id bigint generated always as identity primary key,
  settlement_id bigint not null,
  first_settlement_id bigint,
  library_id integer,
  outcome text not null check (
    outcome in ('invalid_verdict', 'writer_error', 'lml_untrusted_library_id', 'poison_input')
  ),
  reason text not null,
  path text,
  value jsonb,
  sqlstate text,
  message text,
  constraint_name text,
  verdict jsonb,
  verdict_text text,
  tracks_contract_version jsonb,
  origin text not null,
  verified_at timestamptz not null,
  strict_bands boolean not null,
  asked_as bigint,
  quarantined_at timestamptz not null default clock_timestamp(),
  closed_at timestamptz,
  closed_reason text,
  closed_by bigint,
  check ((closed_at is null) = (closed_reason is null))
);

comment on table identity_sync.quarantined_verdict is
  'A quarantined verdict: what was refused, why, and as it came; at most one open entry a library. verdict_text holds what jsonb cannot.';

create unique index quarantined_verdict_one_open_idx
  on identity_sync.quarantined_verdict (library_id)
  where closed_at is null;

comment on column identity_sync.quarantined_verdict.first_settlement_id is
  'Of a verdict that a replay had refused again: the settlement that refused it first, whose run it keeps.';

comment on column identity_sync.quarantined_verdict.asked_as is
  'The fingerprint that the library was asked by; NULL where it is not known, as for a repair.';
comment on column identity_sync.quarantined_verdict.closed_by is
  'The settlement that closed the entry; where the brake takes that back, the entry is open again.';

create index quarantined_verdict_closed_by_idx
  on identity_sync.quarantined_verdict (closed_by)
  where closed_by is not null;

create index quarantined_verdict_replayed_idx
  on identity_sync.quarantined_verdict (library_id, verified_at)
  where closed_reason = 'replayed';

create index quarantined_verdict_settlement_idx on identity_sync.quarantined_verdict (settlement_id);

create table identity_sync.superseded_source (
  superseded_id bigint generated always as identity primary key,
  settlement_id bigint not null,
  library_id integer not null,
  source text not null,
  action text not null check (action in ('changed', 'removed', 'inserted')),
  external_id text,
  method text,
  confidence real,
  last_verified_at timestamptz,
  boost_sources text,
  notes text,
  superseded_at timestamptz not null default clock_timestamp(),
  superseded_reason text not null,
  check ((action = 'inserted') = (external_id is null))
);

comment on table identity_sync.superseded_source is
  'A superseded source row: as it was before a verdict changed, removed or added it (added: all of it NULL).';

create index superseded_source_library_idx on identity_sync.superseded_source (library_id);
create index superseded_source_settlement_idx on identity_sync.superseded_source (settlement_id);

create table identity_sync.superseded_track_link (
  settlement_id bigint not null,
  credit_id integer not null,
  library_id integer not null,
  action text not null check (action in ('changed', 'unlinked')),
  track_artist_id integer,
  track_artist_link_confidence real,
  track_artist_link_method text,
  track_position text,
  superseded_at timestamptz not null default clock_timestamp(),
  superseded_reason text not null,
  primary key (settlement_id, credit_id)
);

comment on table identity_sync.superseded_track_link is
  'A superseded track link: who played a track, as the credit said before a verdict relinked or unlinked it. A first link is in settlement.linked_credit_ids.';

create index superseded_track_link_library_idx on identity_sync.superseded_track_link (library_id);

-- Empty in every snapshot, so that it needs no log.
create unlogged table identity_sync.library_lock (
  library_ids int4multirange not null,
  exclude using gist (library_ids with &&)
);

comment on table identity_sync.library_lock is
  'The libraries that a transaction is writing: its exclusion constraint makes others wait. Every row is deleted by the transaction that inserts it.';

-- An advisory lock could be taken by any login that may connect.
create table identity_sync.claim_mutex ();
create table identity_sync.plan_mutex ();

comment on table identity_sync.claim_mutex is
  'Holds no row: who claims a batch or rescues runs locks it, so that claims come one after another.';
comment on table identity_sync.plan_mutex is
  'Holds no row: who plans a run locks it, so that no two runs take the same library.';
