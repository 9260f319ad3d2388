import { useQueryClient } from "@tanstack/react-query";

/** Does something at the hub, and has what it changed asked for anew. */
export function useChange(...key: readonly (string | number)[]) {
  const client = useQueryClient();
  return async <T,>(work: () => Promise<T>): Promise<T> => {
    const answer = await work();
    await client.invalidateQueries({ queryKey: key });
    return answer;
  };
}
