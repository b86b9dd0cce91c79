// Bytes from outside as a text that PostgreSQL can hold; anything else is named, never mended.

/** A decoded text, or what the bytes are instead, as in "the answer is no UTF-8 text". */
export type Decoded = { text: string; fault: null } | { text: null; fault: string };

/** Decodes UTF-8 without its byte order mark. PostgreSQL's text holds neither broken UTF-8 nor a NUL. */
export function decode(bytes: ArrayBuffer | Uint8Array): Decoded {
  const [first, second] = new Uint8Array(bytes.slice(0, 2));
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) {
    return { text: null, fault: 'is UTF-16 text, where UTF-8 is needed' };
  }
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    if (!text.includes('\0')) return { text, fault: null };
    return { text: null, fault: 'holds a NUL, which no text of PostgreSQL does' };
  } catch {
    return { text: null, fault: 'is no UTF-8 text' };
  }
}
