// JSON as it may come off a wire and as no JavaScript value can hold it: keys that repeat, numbers beyond a double, and
// what PostgreSQL's jsonb refuses. `write` makes the text, `read` says what a reader of it gets.

/** Stands for what jsonb refuses: the result that holds it cannot be read. */
export const UNREADABLE = Symbol('unreadable');

/** A text that goes into the JSON as it stands, and what it means to a reader. */
export class Raw {
  constructor(
    readonly text: string,
    readonly means: unknown,
  ) {}
}

/** An object whose keys may repeat: the last of them counts. */
export class Pairs {
  constructor(readonly pairs: [key: string, value: unknown][]) {}
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Raw);

/** The members of an object in their order, those that are undefined left out. */
function membersOf(value: Record<string, unknown> | Pairs): [string, unknown][] {
  const members = value instanceof Pairs ? value.pairs : Object.entries(value);
  return members.filter(([, member]) => member !== undefined);
}

export function write(value: unknown): string {
  if (value instanceof Raw) return value.text;
  if (Array.isArray(value)) return `[${value.map(write).join(',')}]`;
  if (isObject(value))
    return `{${membersOf(value)
      .map(([key, member]) => `${JSON.stringify(key)}:${write(member)}`)
      .join(',')}}`;
  return JSON.stringify(value ?? null);
}

export function read(value: unknown): unknown {
  if (value instanceof Raw) return value.means;
  if (Array.isArray(value)) return value.map(read);
  if (isObject(value))
    return Object.fromEntries(membersOf(value).map(([key, member]) => [key, read(member)]));
  return value ?? null;
}

/** Whether the text of a value holds an escaped NUL, a lone surrogate or a number out of bounds, wherever it is. */
export function isUnreadable(value: unknown): boolean {
  if (typeof value === 'string') return /\0|\p{Surrogate}/u.test(value);
  if (value instanceof Raw) return value.means === UNREADABLE;
  if (Array.isArray(value)) return value.some(isUnreadable);
  if (isObject(value))
    return membersOf(value).some(([key, member]) => isUnreadable(key) || isUnreadable(member));
  return false;
}

type Place = { value: unknown; put(other: unknown): unknown };

/** Every place in a value, and how the whole would read with something else there; undefined takes the place out. */
export function placesIn(value: unknown): Place[] {
  if (Array.isArray(value))
    return value.flatMap((member, index) =>
      placeOf(member, (other) =>
        other === undefined ? value.toSpliced(index, 1) : value.with(index, other),
      ),
    );
  if (isObject(value)) {
    const members = membersOf(value);
    return members.flatMap(([key, member], index) =>
      placeOf(member, (other) => new Pairs(members.with(index, [key, other]))),
    );
  }
  return [];
}

function placeOf(member: unknown, put: Place['put']): Place[] {
  return [
    { value: member, put },
    ...placesIn(member).map((inner) => ({
      value: inner.value,
      put: (other: unknown) => put(inner.put(other)),
    })),
  ];
}

/** The value with one of its objects naming one of its keys twice: the other value comes first or last. */
export function repeatKey(value: unknown, at: number, other: unknown, isLast: boolean): unknown {
  const objects = [{ value, put: (all: unknown) => all }, ...placesIn(value)].filter(
    (place) => isObject(place.value) && membersOf(place.value).length > 0,
  );
  const place = objects[at % objects.length];
  if (!place) return value;
  const members = membersOf(place.value as Record<string, unknown>);
  const [key] = members[at % members.length]!;
  return place.put(new Pairs(isLast ? [...members, [key, other]] : [[key, other], ...members]));
}
