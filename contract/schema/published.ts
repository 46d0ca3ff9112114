// What is generated from the schemas: the JSON Schema files and the tables inside the reference pages. `npm run schema` writes
// them, and a test compares what is committed with what would be written.

import { PROBLEM_CODES } from '../problem.ts';
import { AgentConfigSchema } from './agent-config-schema.ts';
import { ControlPlaneConfigSchema } from './control-plane-config-schema.ts';
import { renderFieldTable } from './field-table.ts';
import { ServiceIntentionsSchema } from './intentions-schema.ts';
import type { JsonSchema } from './json-schema.ts';
import { MeshDefaultsSchema, POLICY_SCHEMAS, PolicySchema, ServicePolicySchema } from './policy-schema.ts';
import { HTTPRouteSchema } from './route-schema.ts';

const DIALECT = 'https://json-schema.org/draft/2020-12/schema';
const ENVELOPE = ['apiVersion', 'kind', 'metadata'];

/** Text of each schema file by its path from the root of the project. */
export function schemaFiles(): Record<string, string> {
  const text = (schema: JsonSchema) => `${JSON.stringify({ $schema: DIALECT, ...schema }, null, 2)}\n`;
  return {
    'schema/policy.schema.json': text(PolicySchema),
    'schema/agent.schema.json': text(AgentConfigSchema),
    'schema/control-plane.schema.json': text(ControlPlaneConfigSchema),
    'contract/schema/written.ts': writtenModule(),
  };
}

/** The schemas without their prose, as the module that validating programs load in place of TypeBox. */
function writtenModule(): string {
  const literal = (schemas: unknown) => {
    const json = JSON.stringify(schemas, (key, value) => (key === 'description' && isText(value) ? undefined : value));
    return `JSON.parse(\n  '${json.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}',\n)`;
  };
  return `// Written by \`npm run schema\` from the schemas beside it; not to be edited. What programs validate with: building the same
// schemas with TypeBox at every start would load some 370 files.

import type { PolicyKind } from '../policy/policy.ts';
import type { JsonSchema } from './json-schema.ts';

export const WRITTEN_POLICY_SCHEMAS: Readonly<Record<PolicyKind, JsonSchema>> = ${literal(POLICY_SCHEMAS)};

export const WRITTEN_AGENT_CONFIG_SCHEMA: JsonSchema = ${literal(AgentConfigSchema)};

export const WRITTEN_CONTROL_PLANE_CONFIG_SCHEMA: JsonSchema = ${literal(ControlPlaneConfigSchema)};
`;
}

/** A field that is called description has a schema there, not a text. */
function isText(value: unknown): boolean {
  return typeof value === 'string';
}

/** Table by the name of its place: what stands between `<!-- begin NAME -->` and `<!-- end NAME -->`. */
export function docTables(): Record<string, string> {
  const sections = [
    'loadBalancer',
    'timeouts',
    'retries',
    'limits',
    'admissionControl',
    'rateLimit',
    'outlierDetection',
    'healthCheck',
    'exposeEndpoint',
    'slo',
  ];
  const inOverrides = sections.map((section) => `spec.overrides[].${section}`);
  const inPolicy = sections.map((section) => `spec.${section}`);
  return {
    'fields of every document': renderFieldTable(ServicePolicySchema, { skip: ['spec', 'kind'] }),
    'fields of MeshDefaults': renderFieldTable(MeshDefaultsSchema, { skip: ENVELOPE }),
    'fields of ServicePolicy': renderFieldTable(ServicePolicySchema, {
      skip: [...ENVELOPE, ...inPolicy, ...inOverrides],
    }),
    'fields of HTTPRoute': renderFieldTable(HTTPRouteSchema, { skip: ENVELOPE }),
    'fields of ServiceIntentions': renderFieldTable(ServiceIntentionsSchema, { skip: ENVELOPE }),
    'agent configuration': renderFieldTable(AgentConfigSchema, { env: true }),
    'control-plane configuration': renderFieldTable(ControlPlaneConfigSchema, { env: true }),
    'problem codes': [
      '| code | what it says |',
      '| --- | --- |',
      ...Object.entries(PROBLEM_CODES).map(([code, text]) => `| \`${code}\` | ${text} |`),
    ].join('\n'),
  };
}

/** The page with each of its tables replaced; a page without places stays as it is. */
export function fillTables(page: string, tables: Readonly<Record<string, string>> = docTables()): string {
  return page.replaceAll(
    /(<!-- begin ([^>]+) -->\n)[\s\S]*?(<!-- end \2 -->)/g,
    (whole, begin: string, name: string, end: string) =>
      Object.hasOwn(tables, name) ? `${begin}\n${tables[name]}\n\n${end}` : whole,
  );
}
