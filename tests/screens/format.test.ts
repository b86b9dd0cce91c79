// What a person reads on a screen, at any width.
import { describe, expect, test } from 'vitest';
import {
  age,
  clock,
  count,
  cut,
  cutInside,
  duration,
  percent,
  printable,
  widthOf,
} from '../../src/screens/format.js';
import { table } from '../../src/screens/table.js';

test('numbers have separators and shares one digit', () => {
  expect([count(64676), percent(0.4841), percent(1)]).toEqual(['64,676', '48.4 %', '100 %']);
});

test.each<[number, string]>([
  [-5, '0 s'],
  [340, '340 ms'],
  [1900, '1.9 s'],
  [3000, '3 s'],
  [42_000, '42 s'],
  [102_000, '1 min 42 s'],
  [3_600_000, '1 h'],
  [5_400_000, '1 h 30 min'],
  [90_000_000, '1 day 1 h'],
  [180_000_000, '2 days 2 h'],
])('%d ms are said as %s', (milliseconds, words) => {
  expect(duration(milliseconds)).toBe(words);
});

test.each<[number, string]>([
  [1, 'just now'],
  [40, '40 s ago'],
  [180, '3 min ago'],
  [21_600, '6 h ago'],
  [259_200, '3 days ago'],
  [-345_600, 'in 4 days'],
])('a time %d seconds back is said as %s', (seconds, words) => {
  const now = new Date('2026-11-27T12:00:00Z');
  expect(age(new Date(now.getTime() - seconds * 1000), now)).toBe(words);
});

test('a time of day is in UTC and says so', () => {
  expect(clock('2026-11-27T03:17:42+00:00')).toBe('2026-11-27 03:17 UTC');
});

test('a text from the database moves no cursor', () => {
  expect(printable('a\u001b[2J\r\n\u009b31m\u202eb\u061c')).toBe('a␛[2J␍␊\ufffd31m\ufffdb\ufffd');
});

test('a wide letter takes two columns, and what is cut says so', () => {
  expect(widthOf('坂本')).toBe(4);
  expect(cut('坂本龍一', 5)).toBe('坂本…');
  expect(cut('Stereolab', 9)).toBe('Stereolab');
});

describe('a table', () => {
  const rows = [
    { id: 5, artist: 'A Tribe Called Quest', title: 'The Low End Theory', reason: 'main.discogs_artist_id' },
    { id: 101, artist: '坂本龍一', title: 'B-2 Unit', reason: 'confidence' },
  ];
  const draw = (width: number) =>
    table(
      [
        { title: 'id', cell: ({ id }) => String(id), align: 'right' },
        { title: 'artist', cell: ({ artist }) => artist, atLeast: 10 },
        { title: 'title', cell: ({ title }) => title, atLeast: 8, rank: 1 },
        { title: 'reason', cell: ({ reason }) => reason, rank: 2 },
      ],
      rows,
      width,
    );

  test('has its columns one below the other, also under wide letters', () => {
    expect(draw(200)).toEqual([
      ' id  artist                title               reason',
      '  5  A Tribe Called Quest  The Low End Theory  main.discogs_artist_id',
      '101  坂本龍一              B-2 Unit            confidence',
    ]);
  });

  test.each([200, 80, 60, 40, 25, 15, 8])('breaks no line at %d columns', (width) => {
    expect(
      draw(width)
        .map(widthOf)
        .filter((columns) => columns > width),
    ).toEqual([]);
    expect(draw(width)).toHaveLength(3);
  });

  test('loses its least important columns first', () => {
    expect(draw(30)).toEqual(
      [' id  artist      title', '  5  A Tribe Ca…  The Low En…', '101  坂本龍一    B-2 Unit'].map((line) =>
        expect.stringContaining(line.slice(0, 8)),
      ),
    );
    expect(draw(30)[0]).not.toContain('reason');
    expect(draw(17)[0]).toBe(' id  artist');
  });
});

test('two ids that differ at their end alone differ in a narrow table too', () => {
  expect(cutInside('dbd1b11b-0ab2-4afd-8264-c2909237b6fb', 8)).toBe('dbd1…6fb');
  expect(cutInside('dbd1b11b-0ab2-4afd-8264-c2909237b6fa', 8)).toBe('dbd1…6fa');
  expect(cutInside('音楽音楽音楽', 6)).toBe('音…楽');
  expect(cutInside('1489', 8)).toBe('1489');
});
