// Numbers and durations as people say them.

export const counted = (count: number): string => count.toLocaleString('en');

/** A duration in its two largest units, as in "1 min 42 s". */
export function lasting(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  return `${counted(Math.floor(minutes / 60))} h ${minutes % 60} min`;
}
