// Bytes that both sides can make, so that what arrives can be compared with what was sent.

/** `length` bytes that repeat after a prime number of them, so that a lost or doubled buffer shows. */
export function pattern(length) {
  const once = Buffer.from(Array.from({ length: 251 }, (_, at) => at));
  return Buffer.alloc(length, once);
}

/** A text worth compressing. */
export const text = "the quick brown fox jumps over the lazy dog\n".repeat(500);
