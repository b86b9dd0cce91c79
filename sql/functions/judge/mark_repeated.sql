-- Trusts the first of several verdicts on one library: the others become lml_untrusted_library_id.
-- The judge calls it only for an answer that repeats an id.
create or replace function identity_sync_private.mark_repeated(judged identity_sync_private.judged_verdict[])
returns identity_sync_private.judged_verdict[]
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select
    array_agg(
      case
        when ranked.position = 1 or ranked.library_id is null then ranked.verdict
        else identity_sync_private.bare_verdict(ranked.ordinal, ranked.library_id, 'lml_untrusted_library_id')
      end
      order by ranked.ordinal
    )
  from (
    select
      verdict,
      verdict.ordinal,
      verdict.library_id,
      row_number() over (partition by verdict.library_id order by verdict.ordinal) as position
    from unnest(judged) as verdict
  ) as ranked;
$$;

revoke all on function identity_sync_private.mark_repeated(identity_sync_private.judged_verdict[]) from public;

comment on function identity_sync_private.mark_repeated(identity_sync_private.judged_verdict[]) is
  'Takes the judged verdicts of one answer; returns them with every repetition of an id distrusted.';
