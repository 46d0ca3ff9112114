// Splits a .vtc script into its commands. The grammar is small: a command ends with its line unless a brace or a quote is
// open; braces nest; a backslash joins lines; `#` begins a comment between commands.

export interface Command {
  /** First word: server, client, haproxy … */
  readonly word: string;
  /** Second word: the name of the instance. */
  readonly name: string;
  /** The whole command as written. */
  readonly text: string;
}

export function splitCommands(script: string): Command[] {
  const commands: Command[] = [];
  let text = '';
  let depth = 0;
  let isQuoted = false;
  const push = () => {
    const trimmed = text.trim();
    text = '';
    if (trimmed === '') return;
    const [word = '', name = ''] = trimmed.split(/\s+/);
    commands.push({ word, name, text: trimmed });
  };
  for (let at = 0; at < script.length; at += 1) {
    const character = script[at] as string; // at < length
    if (depth === 0 && !isQuoted && character === '#') {
      while (at < script.length && script[at] !== '\n') at += 1;
      push();
      continue;
    }
    if (depth === 0 && character === '"') isQuoted = !isQuoted;
    if (!isQuoted && character === '{') depth += 1;
    else if (!isQuoted && character === '}') depth -= 1;
    if (depth === 0 && !isQuoted && character === '\\' && script[at + 1] === '\n') {
      at += 1;
      text += ' ';
      continue;
    }
    if (character === '\n' && depth === 0 && !isQuoted) push();
    else text += character;
  }
  push();
  return commands;
}
