-- The band of confidence that the wire contract locks each method to: the only place that states it.
-- LML's confidences are float4, so each bound is widened by 0.00001.
create or replace function identity_sync_private.is_in_band(method text, confidence numeric)
returns boolean
language sql immutable parallel safe
-- The method that is most frequent comes first.
return case method
  when 'exact_match' then confidence >= 1.00 - 0.00001
  when 'cross_source_agreement' then confidence >= 0.00
  when 'name_variation' then confidence between 0.90 - 0.00001 and 0.99 + 0.00001
  when 'alias_match' then confidence between 0.75 - 0.00001 and 0.84 + 0.00001
  when 'trigram' then confidence >= 0.70 - 0.00001
  when 'member_group' then confidence between 0.80 - 0.00001 and 0.89 + 0.00001
  when 'llm' then confidence between 0.60 - 0.00001 and 0.79 + 0.00001
  when 'manual' then confidence >= 1.00 - 0.00001
end;

revoke all on function identity_sync_private.is_in_band(text, numeric) from public;

comment on function identity_sync_private.is_in_band(text, numeric) is
  'Takes a method and a confidence from 0 to 1; returns whether it is within the method''s band, NULL where the method is unknown or there is no confidence.';
