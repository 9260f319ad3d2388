import type { ReactNode, RefObject } from "react";

type Props = { label: string; children: ReactNode; place?: RefObject<HTMLPreElement | null>; onScroll?: () => void };

/** Text as it was written, in a box that the keyboard can scroll. */
export function Pre({ label, children, place, onScroll }: Props) {
  return (
    // biome-ignore lint/a11y: preformatted text that scrolls has to be reachable without a mouse
    <pre className="output" role="region" tabIndex={0} aria-label={label} ref={place} onScroll={onScroll}>{children}</pre>
  );
}
