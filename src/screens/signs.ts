// The signs that move a terminal's cursor or turn the direction of writing. Nothing from outside is shown with one in it.

const MOVING = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]+/gu;

/** A text in which each of them is replaced. */
export const withoutMoving = (text: string, shown: (sign: string) => string): string =>
  text.replaceAll(MOVING, (signs) => [...signs].map(shown).join(''));

/** A text without them, on one line. */
export const onOneLine = (text: string): string => text.replaceAll(MOVING, ' ');
