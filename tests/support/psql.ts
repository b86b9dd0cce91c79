// The few commands of psql that sql/roles.sql uses, for machines that have no psql.

/** Does what psql would do with a script's backslash commands and variables. */
export function withoutPsql(script: string, variables: Record<string, string>): string {
  let skips = false;
  const lines = script.split('\n').filter((line) => {
    const [, command, argument] = /^\\(\w+) ?(.*)/.exec(line) ?? [];
    if (command === undefined) return !skips;
    if (command === 'if') skips = variables[/^:\{\?(\w+)\}$/.exec(argument!)![1]!] === undefined;
    else if (command === 'endif') skips = false;
    else if (command !== 'set') throw new Error(`this stand-in for psql does not know ${line}`);
    return false;
  });
  return lines.join('\n').replaceAll(/:"(\w+)"/g, (_, name) => `"${variables[name]}"`);
}
