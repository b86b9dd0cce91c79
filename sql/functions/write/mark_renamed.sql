-- An answer for a library that is called otherwise by now is the answer to another question: stale_verdict, whatever it
-- says. A question that is not known overtakes nothing. Sums are compared first, since hardly any row is renamed while
-- its call is under way.
create or replace function identity_sync_private.mark_renamed(
  judged identity_sync_private.judged_verdict[],
  requested integer[],
  asked_as bigint[]
)
returns identity_sync_private.judged_verdict[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  renamed_ids integer[];
begin
  if (select sum(question.fingerprint) from unnest(asked_as) as question (fingerprint)) = (
    select sum(identity_sync_private.fingerprint(library.id, library.artist_name, library.album_title))
    from wxyc_schema.library
    where library.id = any (requested)
  )
  then
    return judged;
  end if;

  renamed_ids := array(
    select library.id
    from unnest(requested, asked_as) as question (library_id, fingerprint)
    join wxyc_schema.library on library.id = question.library_id
    where question.fingerprint
      <> coalesce(identity_sync_private.fingerprint(library.id, library.artist_name, library.album_title), 0)
  );

  return array(
    select
      case
        when verdict.library_id = any (renamed_ids)
          and verdict.outcome in (
            'resolved', 'resolved_compilation', 'unresolved', 'compilation', 'invalid_verdict', 'poison_input'
          )
        then identity_sync_private.conclude_verdict(verdict, 'stale_verdict')
        else verdict
      end
    from unnest(judged) as verdict
  );
end;
$$;

revoke all on function identity_sync_private.mark_renamed(
  identity_sync_private.judged_verdict[], integer[], bigint[]
) from public;

comment on function identity_sync_private.mark_renamed(
  identity_sync_private.judged_verdict[], integer[], bigint[]
) is
  'Takes judged verdicts, the ids that were requested and the fingerprints they were asked by; returns the verdicts, those on renamed libraries as stale_verdict.';
