const WIDE = 100, HIGH = 22;

type Props = { at: readonly number[]; values: readonly number[]; most: number; label: string };

/** Values over the last quarter of an hour, small. */
export function Spark({ at, values, most, label }: Props) {
  const last = at.at(-1) ?? 0;
  const points = values.map((value, i) => {
    const x = WIDE - ((last - (at[i] ?? last)) / 900) * WIDE;
    return `${x.toFixed(1)},${(HIGH - 1 - (Math.min(value, most) / most) * (HIGH - 2)).toFixed(1)}`;
  });
  return (
    <svg width={WIDE} height={HIGH} role="img" aria-label={label} style={{ display: "block" }}>
      <title>{label}</title>
      <polyline points={points.join(" ")} fill="none" stroke="var(--mantine-color-teal-6)" strokeWidth={1.5} />
    </svg>
  );
}
