// `outrigger completion bash|zsh|fish`: a script for the shell, made from the command tree itself so that it cannot grow old.

import { Argument, type Command } from 'commander';
import type { Terminal } from './terminal.ts';

const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

/** One command: the words that lead to it, and what may follow. */
export interface CompletionEntry {
  readonly path: string;
  readonly words: readonly string[];
}

export function addCompletionCommand(program: Command, terminal: Terminal): void {
  program
    .command('completion')
    .description('print the completion script of a shell: source <(outrigger completion bash)')
    .addArgument(new Argument('<shell>').choices(SHELLS))
    .action((shell: Shell) => terminal.out(SCRIPTS[shell](completionEntries(program))));
}

/** Every command in depth, the program itself first, with path ''. */
export function completionEntries(program: Command): CompletionEntry[] {
  const walk = (command: Command, path: string): CompletionEntry[] => {
    const help = command.createHelp();
    const children = help.visibleCommands(command).filter((child) => child.name() !== 'help');
    const options = help.visibleOptions(command).flatMap(({ long }) => long ?? []);
    const choices = command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []);
    const words = [...children.map((child) => child.name()), ...choices, ...options];
    return [
      { path, words },
      ...children.flatMap((child) => walk(child, path === '' ? child.name() : `${path} ${child.name()}`)),
    ];
  };
  return walk(program, '');
}

const SCRIPTS: Readonly<Record<Shell, (entries: readonly CompletionEntry[]) => string>> = {
  bash: (entries) => `# bash completion for outrigger
_outrigger() {
  local word path=""
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ $word == -* ]] && continue
    case "\${path:+$path }$word" in
      ${entries.flatMap(({ path }) => (path === '' ? [] : [`'${path}'`])).join('|')}) path="\${path:+$path }$word" ;;
    esac
  done
  local words=""
  case "$path" in
${entries.map(({ path, words }) => `    '${path}') words='${words.join(' ')}' ;;`).join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _outrigger outrigger
`,
  zsh: (entries) => `#compdef outrigger
_outrigger() {
  local word commandPath=""
  for word in "\${(@)words[2,CURRENT-1]}"; do
    [[ $word == -* ]] && continue
    case "\${commandPath:+$commandPath }$word" in
      ${entries.flatMap(({ path }) => (path === '' ? [] : [`'${path}'`])).join('|')}) commandPath="\${commandPath:+$commandPath }$word" ;;
    esac
  done
  local -a known
  case "$commandPath" in
${entries.map(({ path, words }) => `    '${path}') known=(${words.join(' ')}) ;;`).join('\n')}
  esac
  compadd -a known
}
compdef _outrigger outrigger
`,
  fish: (entries) => `# fish completion for outrigger
function __outrigger_path
    set -l path
    for word in (commandline -opc)[2..-1]
        string match -q -- '-*' $word; and continue
        set -l longer (string join ' ' $path $word)
        contains -- $longer ${entries.flatMap(({ path }) => (path === '' ? [] : [`'${path}'`])).join(' ')}; and set path $path $word
    end
    string join ' ' $path
end
${entries
  .map(
    ({ path, words }) => `complete -c outrigger -f -n 'test "$(__outrigger_path)" = "${path}"' -a '${words.join(' ')}'`,
  )
  .join('\n')}
`,
};
