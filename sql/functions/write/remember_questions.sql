-- Remembers what libraries were asked by, for those whose answer counts, and tells which were asked otherwise before:
-- another answer to another question says nothing about LML. Nothing is written where the question is the one that was
-- asked before, which is nearly always so and which their sums tell.
create or replace function identity_sync_private.remember_questions(
  verdicts identity_sync_private.judged_verdict[],
  requested integer[],
  asked_as bigint[]
)
returns integer[]
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  known record;
  unanswered_ids integer[];
  renamed_ids integer[];
begin
  select count(*) as questions, sum(asked.fingerprint) as fingerprints
  into known
  from identity_sync.asked_as as asked
  where asked.library_id = any (requested);
  if known.fingerprints = (select sum(question.fingerprint) from unnest(asked_as) as question (fingerprint)) then
    return '{}'::integer[];
  end if;

  unanswered_ids := array(
    select verdict.library_id
    from unnest(verdicts) as verdict
    where verdict.outcome in ('stale_verdict', 'lml_cardinality_mismatch', 'lml_error', 'library_gone')
  );
  if known.questions = 0 then
    begin
      -- Looking for conflicts would cost as much again.
      insert into identity_sync.asked_as (library_id, fingerprint)
      select question.library_id, question.fingerprint
      from unnest(requested, asked_as) as question (library_id, fingerprint)
      where question.fingerprint is not null and question.library_id <> all (unanswered_ids);
      return '{}'::integer[];
    exception
      -- A library is named twice, or this transaction's snapshot is too old to see what another session wrote.
      when unique_violation then
        null;
    end;
  end if;

  renamed_ids := array(
    select question.library_id
    from unnest(requested, asked_as) as question (library_id, fingerprint)
    join identity_sync.asked_as as asked on asked.library_id = question.library_id
    where question.fingerprint <> asked.fingerprint
  );

  insert into identity_sync.asked_as (library_id, fingerprint)
  select distinct on (question.library_id) question.library_id, question.fingerprint
  from unnest(requested, asked_as) as question (library_id, fingerprint)
  left join identity_sync.asked_as as asked on asked.library_id = question.library_id
  where question.fingerprint is distinct from asked.fingerprint
    and question.fingerprint is not null
    and question.library_id <> all (unanswered_ids)
  order by question.library_id
  on conflict (library_id) do update
  set fingerprint = excluded.fingerprint;
  return renamed_ids;
end;
$$;

revoke all on function identity_sync_private.remember_questions(
  identity_sync_private.judged_verdict[], integer[], bigint[]
) from public;

comment on function identity_sync_private.remember_questions(
  identity_sync_private.judged_verdict[], integer[], bigint[]
) is
  'Takes verdicts with their final outcomes, the ids that were requested and the fingerprints they were asked by (NULL: not known); remembers those that were answered, and returns the ids that were asked by another name or title before.';
