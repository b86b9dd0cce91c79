// The report of the contract, with every key that it has.

const NOTHING = {
  rows_resolved: 0,
  rows_resolved_compilation: 0,
  rows_unresolved: 0,
  rows_skipped: {
    compilation: 0,
    lml_error: 0,
    writer_error: 0,
    lml_cardinality_mismatch: 0,
    lml_untrusted_library_id: 0,
    invalid_verdict: 0,
    manual_precedence: 0,
    stale_verdict: 0,
    library_gone: 0,
    poison_input: 0,
  },
  source_rows_skipped_null_confidence: 0,
  source_rows_skipped_duplicate: 0,
  source_rows_out_of_band: 0,
  source_rows_unknown: 0,
  identity: { inserted: 0, changed: 0, unchanged: 0 },
  source: { inserted: 0, changed: 0, unchanged: 0, removed: 0 },
  compilation_track: {
    written: 0,
    unlinked: 0,
    unchanged: 0,
    librarian: 0,
    no_cta_match: 0,
    no_resolved_name: 0,
    unusable: 0,
    no_catalog_artist: 0,
    ambiguous_position: 0,
    position_written: 0,
    confidence_out_of_range: 0,
  },
};

export type Report = typeof NOTHING & { scanned: number };

type Counted = { [Key in keyof typeof NOTHING]?: Partial<(typeof NOTHING)[Key]> };

/** The whole report with these numbers in it, every other one 0, and what was scanned by the rule that all sums up. */
export function reported(counted: Counted): Report {
  const report = {
    ...NOTHING,
    ...counted,
    rows_skipped: { ...NOTHING.rows_skipped, ...counted.rows_skipped },
    identity: { ...NOTHING.identity, ...counted.identity },
    source: { ...NOTHING.source, ...counted.source },
    compilation_track: { ...NOTHING.compilation_track, ...counted.compilation_track },
  };
  const skipped = Object.values(report.rows_skipped).reduce((sum, rows) => sum + rows, 0);
  const scanned = report.rows_resolved + report.rows_resolved_compilation + report.rows_unresolved + skipped;
  return { scanned, ...report } as Report;
}
