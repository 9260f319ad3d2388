import type { Program } from "../api/types";

const WIDE = 900, DEEP = 92, BOX = 130;
const COLORS: Record<string, string> = { running: "#12b886", starting: "#adb5bd", ended: "#868e96", failed: "#e03131" };

/** The control space: the runner, the points it made, and those that they made. */
export function Space({ programs }: { programs: readonly Program[] }) {
  const levels: Program[][] = [];
  const depth = new Map<string, number>();
  for (const each of programs) {
    const level = each.creator && depth.has(each.creator) ? (depth.get(each.creator) ?? 0) + 1 : each === programs[0] ? 0 : 1;
    depth.set(each.name, level);
    (levels[level] ??= []).push(each);
  }
  const place = new Map<string, { x: number; y: number }>();
  const wide = Math.max(WIDE, ...levels.map((level) => level.length * (BOX + 12)));
  levels.forEach((level, row) => level.forEach((each, i) => {
    place.set(each.name, { x: ((i + 0.5) * wide) / level.length, y: row * DEEP + 30 });
  }));
  const root = programs[0]?.name ?? "";
  return (
    <div className="scroll">
      <svg viewBox={`0 0 ${wide} ${levels.length * DEEP}`} width={wide} role="img" aria-label="The control space" style={{ maxWidth: wide > WIDE ? undefined : "100%", minWidth: 600 }}>
        {programs.map((each) => {
          const from = place.get(each.creator || root), to = place.get(each.name);
          return from && to && each.name !== root ? (
            <line key={each.name} x1={from.x} y1={from.y} x2={to.x} y2={to.y} stroke="currentColor" strokeOpacity={0.4} />
          ) : null;
        })}
        {programs.map((each) => {
          const at = place.get(each.name);
          return at ? (
            <g key={each.name} transform={`translate(${at.x - BOX / 2} ${at.y - 20})`} fontSize="12">
              <title>{`${each.name}: ${each.state}${each.why && `, ${each.why}`}`}</title>
              <rect width={BOX} height={40} rx={4} fill="var(--mantine-color-body)" stroke={COLORS[each.state] ?? "#868e96"} strokeWidth={2} />
              <text x={BOX / 2} y={17} textAnchor="middle" fill="currentColor" fontWeight="600">{each.name.slice(0, 18)}</text>
              <text x={BOX / 2} y={32} textAnchor="middle" fill="currentColor">{each.node || each.state}</text>
            </g>
          ) : null;
        })}
      </svg>
    </div>
  );
}
