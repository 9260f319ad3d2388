import { useSyncExternalStore } from "react";
import { ago } from "./format";

// One clock for every time on the page.
let now = Date.now() / 1000;
const listeners = new Set<() => void>();
setInterval(() => {
  now = Date.now() / 1000;
  if (!document.hidden) for (const listener of listeners) listener();
}, 1000);

const subscribe = (listener: () => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};

export const useNow = () => useSyncExternalStore(subscribe, () => now);

/** How long ago; the time itself on hover. */
export function Ago({ at }: { at: number | null | undefined }) {
  const present = useNow();
  if (at === null || at === undefined) return null;
  const date = new Date(at * 1000);
  return (
    <time className="nowrap" dateTime={date.toISOString()} title={date.toLocaleString()}>
      {ago(at, present)}
    </time>
  );
}
