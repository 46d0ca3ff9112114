// The one hash of the balancers: MurmurHash3, the 32-bit variant for little-endian machines. Small, fast on short texts, and
// the same in every agent, which is what lets several agents send one key to one endpoint. Not for secrets.

/**
 * Hash of a text as an unsigned 32-bit number. Only the low byte of each character counts: header values and service ids are
 * bytes already. O(length), allocates nothing.
 *
 * @see Austin Appleby, MurmurHash3_x86_32
 */
export function hash32(text: string, seed = 0): number {
  const { length } = text;
  const blocksEnd = length & ~3;
  let hash = seed;
  for (let at = 0; at < blocksEnd; at += 4) {
    const block =
      byteAt(text, at) | (byteAt(text, at + 1) << 8) | (byteAt(text, at + 2) << 16) | (byteAt(text, at + 3) << 24);
    hash ^= scramble(block);
    hash = (hash << 13) | (hash >>> 19);
    hash = (Math.imul(hash, 5) + 0xe6546b64) | 0;
  }
  let tail = 0;
  for (let at = length - 1; at >= blocksEnd; at -= 1) tail = (tail << 8) | byteAt(text, at);
  if (length > blocksEnd) hash ^= scramble(tail);
  return mix32(hash ^ length);
}

/** Spreads the bits of a number; the last step of hash32, and a cheap way to a second number from a first. */
export function mix32(value: number): number {
  let mixed = value ^ (value >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

function scramble(block: number): number {
  const spread = Math.imul(block, 0xcc9e2d51);
  return Math.imul((spread << 15) | (spread >>> 17), 0x1b873593);
}

function byteAt(text: string, at: number): number {
  return text.charCodeAt(at) & 0xff;
}
