// The version of the document format. In a file of its own, because schemas and parser both need it and neither the other.

/** What the first line of every policy document says. */
export const API_VERSION = 'outrigger.dev/v1';
