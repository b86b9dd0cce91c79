// What PostgreSQL says of a file of SQL, with the place that it means.

/** The parts of an error that PostgreSQL sends; its position counts characters from 1. */
interface DatabaseError {
  message: string;
  code?: string;
  position?: string;
  detail?: string;
  hint?: string;
  where?: string;
}

/** Writes an error for a person: file, line and column, the line itself, and what PostgreSQL adds. */
export function describeError(error: unknown, path: string, text: string): string {
  const { message, code, position, detail, hint, where } = error as DatabaseError;
  const said = code ? `${message} (${code})` : message;
  const more = [detail && `detail: ${detail}`, hint && `hint: ${hint}`, where && `where: ${where}`];
  const lines = more.filter((line) => line).map((line) => `  ${line}`);
  if (!position) return [`${path}: ${said}`, ...lines].join('\n');

  // PostgreSQL counts characters, JavaScript counts pairs of surrogates twice.
  const before = [...text].slice(0, Number(position) - 1).join('');
  const line = before.split('\n').length;
  const column = before.length - before.lastIndexOf('\n');
  const source = text.split('\n')[line - 1]!;
  return [`${path}:${line}:${column}: ${said}`, `  ${source}`, `  ${' '.repeat(column - 1)}^`, ...lines].join(
    '\n',
  );
}
