import { Group, Text } from "@mantine/core";
import type { Program } from "../api/types";
import { seconds } from "../parts/format";
import { useNow } from "../parts/time";

const ROW = 24, LEFT = 150, WIDE = 900;
const WAITING = "#adb5bd", RUNNING = "#12b886", FAILED = "#e03131";

/** When each program was asked for, ran, and ended. */
export function Timeline({ programs, begun }: { programs: readonly Program[]; begun: number }) {
  const now = useNow();
  const starts = programs.map((each) => each.stages.accepted ?? begun);
  const first = Math.min(begun, ...starts);
  const last = Math.max(...programs.map((each) => each.ended_at ?? now), first + 0.001);
  const x = (at: number) => LEFT + ((at - first) / (last - first)) * (WIDE - LEFT - 60);
  return (
    <div className="scroll">
      <svg viewBox={`0 0 ${WIDE} ${programs.length * ROW + 24}`} width={WIDE} role="img" aria-label="When each program ran" style={{ maxWidth: "100%", minWidth: 600 }}>
        {programs.map((each, i) => {
          const accepted = each.stages.accepted ?? begun;
          const called = each.stages.called ?? each.stages.running ?? accepted;
          const end = each.ended_at ?? now;
          return (
            <g key={each.name} transform={`translate(0 ${i * ROW})`} fontSize="12" fill="currentColor">
              <title>{`${each.name}: up after ${seconds(called - accepted)}, ran ${seconds(Math.max(0, end - called))}`}</title>
              <text x={0} y={16}>{each.name.slice(0, 22)}</text>
              <rect x={x(accepted)} y={5} height={14} width={Math.max(1, x(called) - x(accepted))} fill={WAITING} />
              <rect x={x(called)} y={5} height={14} width={Math.max(2, x(end) - x(called))} fill={each.state === "failed" ? FAILED : RUNNING} />
              <text x={x(end) + 4} y={16}>{seconds(Math.max(0, end - called))}</text>
            </g>
          );
        })}
        <g fontSize="12" fill="currentColor" transform={`translate(0 ${programs.length * ROW})`}>
          <text x={LEFT} y={16}>0 s</text>
          <text x={WIDE - 60} y={16} textAnchor="end">{seconds(last - first)}</text>
        </g>
      </svg>
      <Group gap="md">
        <Key color={WAITING} text="being started" /><Key color={RUNNING} text="ran" /><Key color={FAILED} text="failed" />
      </Group>
    </div>
  );
}

function Key({ color, text }: { color: string; text: string }) {
  return <Group gap={6}><svg width="12" height="12" aria-hidden="true"><rect width="12" height="12" fill={color} /></svg><Text size="xs">{text}</Text></Group>;
}
