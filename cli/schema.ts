// `outrigger schema`: the JSON Schemas that editors complete and check documents with.

import { Argument, type Command } from 'commander';
import type { JsonSchema } from '#contract/schema/json-schema.ts';
import type { Terminal } from './terminal.ts';

const DIALECT = 'https://json-schema.org/draft/2020-12/schema';

/** Loaded when asked for: building all schemas takes longer than most commands. */
const SOURCES: Readonly<Record<string, () => Promise<JsonSchema>>> = {
  policy: async () => (await import('#contract/schema/policy-schema.ts')).PolicySchema,
  agent: async () => (await import('#contract/schema/agent-config-schema.ts')).AgentConfigSchema,
  'control-plane': async () =>
    (await import('#contract/schema/control-plane-config-schema.ts')).ControlPlaneConfigSchema,
};

export function addSchemaCommand(program: Command, terminal: Terminal): void {
  program
    .command('schema')
    .description('print the JSON Schema of a kind of document, for editors and CI')
    .addArgument(new Argument('<kind>', 'which document').choices(Object.keys(SOURCES)))
    .action(async (kind: string) => {
      const schema = await SOURCES[kind]?.();
      terminal.out(`${JSON.stringify({ $schema: DIALECT, ...schema }, null, 2)}\n`);
    });
}
