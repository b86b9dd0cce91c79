// A line of CSV is read by programs and by spreadsheets.
import { expect, test } from 'vitest';
import { csvLine } from '../../src/screens/diff.js';

test.each<[(string | number | null)[], string]>([
  [[5, null, 'Dots, and "Loops"', 'two\nlines'], '5,,"Dots, and ""Loops""","two\nlines"'],
  [['-1.5', '+3', -2, '0.95'], '-1.5,+3,-2,0.95'],
  [['=1+1', '+/-', '-Ziq', '@', '\t=1'], "'=1+1,'+/-,'-Ziq,'@,'\t=1"],
  [['=HYPERLINK("http://x","y")'], `"'=HYPERLINK(""http://x"",""y"")"`],
])('no cell is a formula, and a number stays one: %j', (cells, line) => {
  expect(csvLine(cells)).toBe(`${line}\r\n`);
});
