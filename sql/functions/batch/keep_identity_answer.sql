-- Keeps an answer that cannot be written now, because another session holds some of its rows. A lane applies it later
-- without a call, so LML is not asked again and no try is charged.
create or replace function identity_sync_private.keep_identity_answer(
  batch_id bigint,
  answer text,
  answered_at timestamptz
)
returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  update identity_sync.batch
  set
    state = 'answered',
    leased_by = null,
    leased_until = null,
    answer = keep_identity_answer.answer,
    answered_at = coalesce(batch.answered_at, keep_identity_answer.answered_at),
    -- Four seconds or so: long enough to cost nothing, short enough that a run does not end much later.
    not_before = clock_timestamp() + identity_sync_private.backoff(3)
  where batch.batch_id = keep_identity_answer.batch_id;
$$;

revoke all on function identity_sync_private.keep_identity_answer(bigint, text, timestamptz) from public;

comment on function identity_sync_private.keep_identity_answer(bigint, text, timestamptz) is
  'Takes a batch, the text of its answer and when it came; keeps it, without a lease, to be applied some seconds later.';
