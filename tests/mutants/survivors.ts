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
    of: 'batch/reopen_orphaned_batches',
    from: "and (batch.leased_until < clock_timestamp() or batch.state = 'open' and run.stop_reason is not null)",
    to: "and (batch.leased_until <= clock_timestamp() or batch.state = 'open' and run.stop_reason is not null)",
    reason: 'Equivalent: it takes a lease that runs out in the very microsecond of the look.',
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
    of: 'run/end_overdue_runs',
    from: 'where run.finished_at is null and (run.stop_cause is not null or run.deadline_at < clock_timestamp())',
    to: 'where run.finished_at is null and (run.stop_cause is not null or run.deadline_at <= clock_timestamp())',
    reason: 'Equivalent: it ends a run in the very microsecond of its deadline.',
  },
  {
    of: 'run/take_unreported_runs',
    from: "where ended.finished_at > clock_timestamp() - interval '1 day' and ended.reported_at is null",
    to: "where ended.finished_at >= clock_timestamp() - interval '1 day' and ended.reported_at is null",
    reason: 'Equivalent: it takes a run that ended a day ago to the microsecond.',
  },
  {
    of: 'upkeep/analyze_filled_tables',
    from: 'and known.n_mod_since_analyze > greatest(1000, 0.1 * pg_class.reltuples)',
    to: 'and known.n_mod_since_analyze > greatest(1000, 0.11 * pg_class.reltuples)',
    reason: 'A chosen share of an estimate. A hundredth more or less breaks no promise.',
  },
];
