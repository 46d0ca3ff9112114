// Responses against llhttp: the other half of the million.

import { fuzzFor } from './fuzz-test.ts';

fuzzFor('response');
