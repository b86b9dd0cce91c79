// The mutants that no test can kill, or that are not worth one: each with its reason.
export interface Survivor {
  /** `ROOM/FUNCTION`. */
  of: string;
  /** The line as it is, and as the mutant has it. */
  from: string;
  to: string;
  reason: string;
}

export const SURVIVORS: Survivor[] = [
  {
    of: 'batch/backoff',
    from: "select least(30, 0.5 * 2 ^ least(tries, 10)) * (0.75 + random() / 2) * interval '1 second';",
    to: "select least(30, 0.5 * 2 ^ least(tries, 11)) * (0.75 + random() / 2) * interval '1 second';",
    reason: 'Equivalent: the pause is bound to 30 seconds from the sixth try on.',
  },
  {
    of: 'batch/close_empty_batch',
    from: 'perform from identity_sync.run where run.run_id = empty.run_id for no key update;',
    to: 'null;',
    reason: 'Equivalent: close_identity_run takes the same lock at the end. Taken first, it spares the work.',
  },
  {
    of: 'write/quarantine_verdicts',
    from: 'most_explained constant integer := 5000;',
    to: 'most_explained constant integer := 5001;',
    reason: 'A measured bound on the time of one answer. One reason more or less breaks no promise.',
  },
  {
    of: 'write/quarantine_verdicts',
    from: "when refused.outcome = 'invalid_verdict' and refused.number <= most_explained",
    to: "when refused.outcome = 'invalid_verdict' and refused.number < most_explained",
    reason: 'A measured bound on the time of one answer. One reason more or less breaks no promise.',
  },
  {
    of: 'write/remember_questions',
    from: 'if known.questions = 0 then',
    to: 'if false then',
    reason: 'Equivalent: a quicker way to the same rows, for a first run.',
  },
  {
    of: 'write/settle_verdicts',
    from: "and (attempt.released_at > settle_verdicts.verified_at or attempt.outcome = 'held')",
    to: "and (attempt.released_at >= settle_verdicts.verified_at or attempt.outcome = 'held')",
    reason: 'Equivalent: it only asks mark_overtaken, which compares the times itself.',
  },
  {
    of: 'candidates/cohort_of',
    from: "return case when coalesce(code_volume_letters, '') like 'Z%' or has_credits then 'va' else 'non_va' end;",
    to: "return case when coalesce(code_volume_letters, null) like 'Z%' or has_credits then 'va' else 'non_va' end;",
    reason: 'Equivalent: what is neither true nor false takes the same branch.',
  },
  {
    of: 'upkeep/analyze_filled_tables',
    from: 'and known.n_mod_since_analyze > greatest(1000, 0.1 * pg_class.reltuples)',
    to: 'and known.n_mod_since_analyze > greatest(1000, 0.11 * pg_class.reltuples)',
    reason: 'A chosen share of an estimate. A hundredth more or less breaks no promise.',
  },
  {
    of: 'judge/judge_identity_verdicts',
    from: 'when provenance.has_valid_legs and provenance.has_duplicate',
    to: 'when provenance.has_valid_legs or provenance.has_duplicate',
    reason: 'Equivalent: the sources of a refused verdict are not looked at.',
  },
  {
    of: 'judge/judge_identity_verdicts',
    from: 'coalesce(requested is null or requested[field.ordinal] = field.id, false) or field.id = any (requested)',
    to: 'coalesce(requested is null and requested[field.ordinal] = field.id, false) or field.id = any (requested)',
    reason: 'Equivalent: what is neither true nor false is trusted, too.',
  },
  {
    of: 'judge/judge_identity_verdicts',
    from: 'count(verdict.id) > count(distinct verdict.id),',
    to: 'count(verdict.id) >= count(distinct verdict.id),',
    reason: 'Equivalent: it looks for repeated ids where there are none.',
  },
  {
    of: 'judge/judge_identity_verdicts',
    from: 'if has_repeated or answered_count < cardinality(requested) then',
    to: 'if has_repeated or answered_count <= cardinality(requested) then',
    reason: 'Equivalent: it looks for missing ids where there are none.',
  },
  {
    of: 'judge/judge_identity_verdicts',
    from: 'or count(leg.confidence) filter (where leg.source_bit is null) > 1 as has_duplicate,',
    to: 'or count(leg.confidence) filter (where leg.source_bit is null) >= 1 as has_duplicate,',
    reason: 'Equivalent: of one unknown source the best is itself.',
  },
  {
    of: 'observe/changes_of',
    from: 'limit 1',
    to: 'limit 2',
    reason: 'Equivalent: one settlement names a history row, and the bound ends the search.',
  },
  {
    of: 'observe/changes_of',
    from: 'max(step.words),',
    to: 'min(step.words),',
    reason: 'Equivalent: all that a settlement changed has the same words.',
  },
  {
    of: 'observe/explain_due',
    from: "select coalesce(min(due.reason) filter (where due.reason <> 'renamed'), min(due.reason))",
    to: "select coalesce(max(due.reason) filter (where due.reason <> 'renamed'), min(due.reason))",
    reason: "Equivalent: beside 'renamed' a library has one reason at most.",
  },
  {
    of: 'observe/explain_due',
    from: "select coalesce(min(due.reason) filter (where due.reason <> 'renamed'), min(due.reason))",
    to: "select coalesce(min(due.reason) filter (where due.reason <> 'renamed'), max(due.reason))",
    reason: "Equivalent: beside 'renamed' a library has one reason at most.",
  },
  {
    of: 'observe/identity_check',
    from: "coalesce(inet_client_addr() <<= '127.0.0.0/8' or inet_client_addr() = '::1', true) as is_local,",
    to: "coalesce(inet_client_addr() <<= '127.0.0.0/8' or inet_client_addr() = '::1', null) as is_local,",
    reason: 'It takes a session by a socket, which a server in a container does not offer.',
  },
  {
    of: 'observe/identity_check',
    from: "coalesce(inet_client_addr() <<= '127.0.0.0/8' or inet_client_addr() = '::1', true) as is_local,",
    to: "coalesce(inet_client_addr() <<= '127.0.0.0/8' or inet_client_addr() <> '::1', true) as is_local,",
    reason: 'It takes a session over a network.',
  },
  {
    of: 'observe/identity_check',
    from: "when abs(ahead_ms) < 1000 then 'as ours, within a second'",
    to: "when abs(ahead_ms) < 1001 then 'as ours, within a second'",
    reason: 'It takes a clock that is wrong by a second to the millisecond.',
  },
  {
    of: 'observe/identity_page',
    from: "'changes', identity_sync_private.artists_changed(5000, 30)",
    to: "'changes', identity_sync_private.artists_changed(5001, 30)",
    reason: 'A bound on the time of the page. One row more or less breaks no promise.',
  },
  {
    of: 'wire/explain_no_answer',
    from: 'if identity_sync_private.excerpt(body, 1) is null then',
    to: 'if identity_sync_private.excerpt(body, 2) is null then',
    reason: 'Equivalent: it asks whether there is a character to print at all.',
  },
  {
    of: 'wire/explain_no_answer',
    from: "coalesce(identity_sync_private.excerpt(quoted, 100), 'the end of the text'),",
    to: "coalesce(identity_sync_private.excerpt(quoted, 101), 'the end of the text'),",
    reason: 'Equivalent: PostgreSQL quotes about fifty characters.',
  },
  {
    of: 'wire/has_name',
    from: 'return coalesce(ascii(name) between 33 and 126, false) or not identity_sync.is_blank(name);',
    to: 'return coalesce(ascii(name) between 34 and 126, false) or not identity_sync.is_blank(name);',
    reason: 'Equivalent: a quicker way to the same answer.',
  },
  {
    of: 'wire/has_name',
    from: 'return coalesce(ascii(name) between 33 and 126, false) or not identity_sync.is_blank(name);',
    to: 'return coalesce(ascii(name) between 33 and 127, false) or not identity_sync.is_blank(name);',
    reason: 'Equivalent: a quicker way to the same answer.',
  },
  {
    of: 'wire/has_text',
    from: "return ascii(value) > 32 or btrim(value, E' \\t\\n\\v\\f\\r') <> '';",
    to: "return ascii(value) > 33 or btrim(value, E' \\t\\n\\v\\f\\r') <> '';",
    reason: 'Equivalent: a quicker way to the same answer.',
  },
  {
    of: 'wire/is_identifier_or_null',
    from: 'and (octet_length(characters) <= 512 or char_length(characters) <= 512)',
    to: 'and (octet_length(characters) < 512 or char_length(characters) <= 512)',
    reason: 'Equivalent: a quicker way to the same answer.',
  },
  {
    of: 'wire/read_identity_answer',
    from: 'if octet_length(body) > most_values',
    to: 'if octet_length(body) >= most_values',
    reason: 'Equivalent: a quicker way to the same answer.',
  },
  {
    of: 'wire/salvage_identity_answer',
    from: 'if surrogates > 500000 then',
    to: 'if surrogates >= 500000 then',
    reason: 'A measured bound on the time of one answer. One surrogate more or less breaks no promise.',
  },
  {
    of: 'wire/salvage_identity_answer',
    from: 'if surrogates > 0 then',
    to: 'if surrogates >= 0 then',
    reason: 'Equivalent: without surrogates there is nothing to replace.',
  },
  {
    of: 'wire/salvage_identity_answer',
    from: '(select chr(code) from generate_series(64976, 65007) as code where position(chr(code) in body) = 0 limit 1),',
    to: '(select chr(code) from generate_series(64976, 65007) as code where position(chr(code) in body) = 1 limit 1),',
    reason: 'Equivalent: a hash marks as well.',
  },
  {
    of: 'wire/salvage_identity_answer',
    from: '(select chr(code) from generate_series(64976, 65007) as code where position(chr(code) in body) = 0 limit 1),',
    to: '(select chr(code) from generate_series(64977, 65007) as code where position(chr(code) in body) = 0 limit 1),',
    reason: 'Equivalent: the other marks do as well.',
  },
  {
    of: 'wire/salvage_identity_answer',
    from: '(select chr(code) from generate_series(64976, 65007) as code where position(chr(code) in body) = 0 limit 1),',
    to: '(select chr(code) from generate_series(64976, 65008) as code where position(chr(code) in body) = 0 limit 1),',
    reason: 'Equivalent: the other marks do as well.',
  },
  {
    of: 'wire/set_aside_result',
    from: "where position(mark || 'n' in member.key) > 0 or position(mark || 'n' in member.value::text) > 0;",
    to: "where position(mark || 'n' in member.key) > 0 or position(mark || 'n' in member.value::text) > 1;",
    reason: 'Equivalent: the text of a JSON value begins with a quote or a bracket.',
  },
  {
    of: 'wire/set_aside_result',
    from: "is_marked constant boolean := position(mark || 'n' in masked) > 0;",
    to: "is_marked constant boolean := position(mark || 'n' in masked) > 1;",
    reason: 'Equivalent: the text of a JSON value begins with a quote or a bracket.',
  },
  {
    of: 'wire/set_aside_result',
    from: 'if patience < 0 then',
    to: 'if patience < 1 then',
    reason: 'A chosen bound on the time of one path. One byte more or less breaks no promise.',
  },
  {
    of: 'wire/set_aside_result',
    from: 'patience integer := 20000000;',
    to: 'patience integer := 20000001;',
    reason: 'A chosen bound on the time of one path. One byte more or less breaks no promise.',
  },
  {
    of: 'wire/set_aside_result',
    from: "where position(mark || 'n' in item.value::text) > 0;",
    to: "where position(mark || 'n' in item.value::text) > 1;",
    reason: 'Equivalent: the text of a JSON value begins with a quote or a bracket.',
  },
  {
    of: 'wire/set_aside_result',
    from: 'if patience < 0 then',
    to: 'if patience <= 0 then',
    reason: 'A chosen bound on the time of one path. One byte more or less breaks no promise.',
  },
];
