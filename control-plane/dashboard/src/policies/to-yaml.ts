// A document as YAML, for people to edit. Pure; what it writes reads back as the same value.

export function toYaml(value: unknown, indent = ''): string {
  if (Array.isArray(value)) {
    return value.map((item) => `${indent}- ${itemText(item, `${indent}  `)}`).join('');
  }
  if (typeof value === 'object' && value !== null) {
    return Object.entries(value)
      .filter(([, inner]) => inner !== undefined)
      .map(([key, inner]) => `${indent}${scalar(key)}:${memberText(inner, indent)}`)
      .join('');
  }
  return `${indent}${scalar(value)}\n`;
}

function memberText(value: unknown, indent: string): string {
  if (isEmpty(value)) return ` ${Array.isArray(value) ? '[]' : '{}'}\n`;
  if (typeof value === 'object' && value !== null) return `\n${toYaml(value, `${indent}  `)}`;
  return ` ${scalar(value)}\n`;
}

/** The first line of an item stands behind its dash. */
function itemText(value: unknown, indent: string): string {
  if (isEmpty(value)) return `${Array.isArray(value) ? '[]' : '{}'}\n`;
  if (typeof value === 'object' && value !== null) return toYaml(value, indent).slice(indent.length);
  return `${scalar(value)}\n`;
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}

/** Plain where no reader of YAML, old or new, could take it for something else than this text. */
function scalar(value: unknown): string {
  if (typeof value !== 'string') return String(value);
  const isPlain = /^[A-Za-z_/][A-Za-z0-9_./@-]*$/.test(value) || /^\d+(ms|s|m|h|d)$/.test(value);
  const isWord = /^(y|n|yes|no|on|off|true|false|null|nan|inf)$/i.test(value);
  return isPlain && !isWord ? value : JSON.stringify(value);
}
