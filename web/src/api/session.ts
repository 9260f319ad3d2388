import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Problem, ask, post } from "./http";
import type { Me } from "./types";

export function useMe() {
  return useQuery({
    queryKey: ["me"],
    queryFn: () => ask<Me>("/me").catch((error: unknown) => {
      if (error instanceof Problem && error.status === 401) return null;
      throw error;
    }),
    staleTime: 60_000,
  });
}

/** What somebody may do; the hub decides, the page only does not offer what would be refused. */
export function useRights() {
  const role = useMe().data?.role;
  return { isAdmin: role === "admin", maySubmit: role === "admin" || role === "member" };
}

export function useSession() {
  const client = useQueryClient();
  /** Nothing that somebody else was shown is kept. */
  const become = (me: Me | null) => {
    client.removeQueries({ predicate: (query) => query.queryKey[0] !== "me" });
    client.setQueryData(["me"], me);
  };
  const enter = async (given: { name?: string; password?: string; link?: string }) => {
    const me = await post<Me>("/login", given);
    become(me);
  };
  const leave = async () => {
    await post("/logout");
    become(null);
  };
  return { enter, leave };
}
