// Who may call what: four roles, and what a route says about them. Pure.

/** From the least to the most, except `agent`, which stands apart: it speaks for one sidecar and reads nothing else. */
export const ROLES = ['viewer', 'editor', 'admin', 'agent'] as const;
export type Role = (typeof ROLES)[number];

/** Least roles that a route asks for; `public` needs no token, `any` is any valid token. Admins may call everything. */
export type Access = Role | 'public' | 'any';

const RANK: Readonly<Record<Role, number>> = { agent: 0, viewer: 1, editor: 2, admin: 3 };

/** Whether a role is enough for a route: an editor may do what a viewer may, an agent only what names agents. */
export function mayCall(role: Role, access: readonly Access[]): boolean {
  if (role === 'admin') return true;
  return access.some((least) => {
    if (least === 'public' || least === 'any') return true;
    if (least === 'agent' || role === 'agent') return least === role;
    return RANK[role] >= RANK[least];
  });
}

/** The roles that may call a route, for the documents and for the matrix that tests walk. */
export function rolesOf(access: readonly Access[]): Role[] {
  return ROLES.filter((role) => mayCall(role, access));
}
