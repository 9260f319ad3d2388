// What a page shows is in its address, so an address can be sent to somebody.
import { useCallback, useMemo } from "react";
import { useLocation, useSearch } from "wouter";

export function useAddress() {
  const search = useSearch();
  const [path, go] = useLocation();
  const values = useMemo(() => new URLSearchParams(search), [search]);
  const change = useCallback(
    (changes: Record<string, string | string[] | null>) => {
      const next = new URLSearchParams(search);
      for (const [name, value] of Object.entries(changes)) {
        next.delete(name);
        for (const each of Array.isArray(value) ? value : [value]) if (each) next.append(name, each);
      }
      const text = next.toString();
      go(path + (text && `?${text}`), { replace: true });
    },
    [search, path, go],
  );
  return { values, change };
}
