// The mutants that no test can kill, or that are not worth one: each with its reason.
export interface Survivor {
  /** `ROOM/FUNCTION`. */
  of: string;
  /** The line as it is, and as the mutant has it. */
  from: string;
  to: string;
  reason: string;
}

export const SURVIVORS: Survivor[] = [];
