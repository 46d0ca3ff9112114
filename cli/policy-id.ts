// What the commands about policies share: KIND/NAME as people type it, and the sentences about what became of a change.

import { POLICY_KINDS, type PolicyKind } from '#contract/policy/policy.ts';
import { nearest } from '#contract/text/suggest.ts';
import { type ApiOptions, callPages } from './api.ts';
import { paint } from './output.ts';
import type { PolicyAnswer } from './policy-answer.ts';
import { CommandFailure, EXIT, type Terminal } from './terminal.ts';

/** Looks at what is stored, to say what was probably meant. */
export async function missingPolicy(options: ApiOptions, kind: PolicyKind, name: string): Promise<CommandFailure> {
  const stored = (await callPages(options, '/v1/policies', 'policies')) as {
    policies: readonly { document: { kind: string; metadata: { name: string } } }[];
  }; // the same version on both sides
  const names = stored.policies.filter(({ document }) => document.kind === kind);
  const guess = nearest(
    name,
    names.map(({ document }) => document.metadata.name),
  );
  return new CommandFailure(`there is no ${kind}/${name}`, {
    exitCode: EXIT.problemFound,
    next: guess === null ? 'outrigger policy list' : `did you mean ${kind}/${guess}?`,
  });
}

/** `ServicePolicy/payments applied: version 7, 7 of 7 agents acknowledged in 43 ms` */
export function policySentence(
  id: string,
  verb: string,
  { version, agents }: PolicyAnswer,
  tookMs: number,
  terminal: Terminal,
): string {
  const share = `${agents.applied} of ${agents.wanted} agents acknowledged in ${Math.round(tookMs)} ms`;
  const isComplete = agents.applied === agents.wanted && agents.rejected === 0;
  const rest =
    agents.rejected > 0
      ? `\n${agents.rejected} rejected it and keep their former policy; the reasons: outrigger status -o wide`
      : isComplete
        ? ''
        : '\nthe others have not answered yet: outrigger status --watch';
  const who = agents.wanted === 0 ? 'no agent is connected' : share;
  return `${paint(terminal, isComplete ? 'green' : 'yellow', `${id} ${verb}`)}: version ${version}, ${who}${rest}\n`;
}

export function parsePolicyId(text: string): { kind: PolicyKind; name: string } {
  const slash = text.indexOf('/');
  const [word, name] = slash < 0 ? [text, ''] : [text.slice(0, slash), text.slice(slash + 1)];
  const kind = POLICY_KINDS.find((known) => known.toLowerCase() === word.toLowerCase());
  if (kind !== undefined && name !== '') return { kind, name };
  const guess = nearest(word, POLICY_KINDS);
  const why = kind !== undefined ? 'the name is missing' : `'${word}' is not a kind of policy`;
  throw new CommandFailure(`${why}; write KIND/NAME, for example ServicePolicy/payments`, {
    exitCode: EXIT.usage,
    next:
      guess === null ? `kinds: ${POLICY_KINDS.join(', ')}` : `did you mean ${guess}/${name === '' ? 'NAME' : name}?`,
  });
}
