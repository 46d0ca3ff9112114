// What a document would change, value by value, beside the revision in force.

import type { Difference } from './documents.ts';

export function DifferenceTable({ differences }: { readonly differences: readonly Difference[] }) {
  if (differences.length === 0) return null;
  return (
    <div class="scroll">
      <table class="differences">
        <thead>
          <tr>
            <th scope="col">Field</th>
            <th scope="col">In force</th>
            <th scope="col">Here</th>
          </tr>
        </thead>
        <tbody>
          {differences.map((difference) => (
            <tr key={difference.path}>
              <th scope="row" class="name mono">
                {difference.path}
              </th>
              <td class="mono removed">{'before' in difference ? String(difference.before) : '–'}</td>
              <td class="mono added">{'after' in difference ? String(difference.after) : '–'}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
