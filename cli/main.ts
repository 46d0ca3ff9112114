// Entry of the command line: argv in, exit code out.

import { runCommandLine } from './program.ts';
import { processTerminal } from './terminal.ts';

const terminal = processTerminal();
// Set rather than exit(): `agent` and `control-plane` keep running after their command returns, and pipes must drain.
process.exitCode = await runCommandLine(process.argv.slice(2), terminal);
