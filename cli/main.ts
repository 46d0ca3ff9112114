// Entry of the command line: argv in, exit code out.

import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';

// Compiled code is kept beside the packages, never in the system's temporary folder, where another user could leave code for
// us to run. It takes two thirds off the time of a start; where the folder cannot be written, nothing is kept.
enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/outrigger', import.meta.url)));

// Only what is loaded after that call is kept, so nothing of ours is imported statically here.
const { runCommandLine } = await import('./program.ts');
const { processTerminal } = await import('./terminal.ts');

const terminal = processTerminal();
// Set rather than exit(): `agent` and `control-plane` keep running after their command returns, and pipes must drain.
process.exitCode = await runCommandLine(process.argv.slice(2), terminal);
