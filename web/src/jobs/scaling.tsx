import { Table } from "@mantine/core";
import { Link } from "wouter";
import type { Figures } from "../api/types";
import { seconds } from "../parts/format";

const WIDE = 560, HIGH = 300, LEFT = 40, BOTTOM = 30, TOP = 12;

export type Run = { points: number; job: string; figures: Figures };
export type Row = { points: number; job: string; wall: number; speedup: number; efficiency: number; serial: number | null; communication: number };

/** The figures of parcs.study: of several runs at one number of points the middle one counts; the fewest points are the base. */
export function rowsOf(runs: readonly Run[]): Row[] {
  const counts = [...new Set(runs.map((run) => run.points))].sort((a, b) => a - b);
  const middle = counts.flatMap((points) => {
    const those = runs.filter((run) => run.points === points).sort((a, b) => a.figures.wall_s - b.figures.wall_s);
    return those[Math.floor((those.length - 1) / 2)] ?? [];
  });
  const base = middle[0];
  if (!base) return [];
  return middle.map(({ points, job, figures }) => {
    const speedup = (base.points * base.figures.wall_s) / figures.wall_s;
    const total = figures.waited_s + figures.busy_s;
    return {
      points, job, wall: figures.wall_s, speedup, efficiency: speedup / points,
      serial: points === 1 ? null : (1 / speedup - 1 / points) / (1 - 1 / points),
      communication: total ? figures.waited_s / total : 0,
    };
  });
}

export function Scaling({ rows }: { rows: readonly Row[] }) {
  const most = Math.max(1, ...rows.map((row) => Math.max(row.points, row.speedup)));
  const x = (points: number) => LEFT + (points / most) * (WIDE - LEFT - 16);
  const y = (speedup: number) => HIGH - BOTTOM - (speedup / most) * (HIGH - BOTTOM - TOP);
  return (
    <svg viewBox={`0 0 ${WIDE} ${HIGH}`} width={WIDE} style={{ maxWidth: "100%" }} role="img" aria-label="Speed-up over points" fontSize="12" fill="currentColor">
      <line x1={x(0)} y1={y(0)} x2={x(most)} y2={y(0)} stroke="currentColor" strokeOpacity={0.4} />
      <line x1={x(0)} y1={y(0)} x2={x(0)} y2={y(most)} stroke="currentColor" strokeOpacity={0.4} />
      <line x1={x(0)} y1={y(0)} x2={x(most)} y2={y(most)} stroke="currentColor" strokeOpacity={0.5} strokeDasharray="5 4" />
      <polyline points={rows.map((row) => `${x(row.points)},${y(row.speedup)}`).join(" ")} fill="none" stroke="#12b886" strokeWidth={2} />
      {rows.map((row) => (
        <g key={row.points}>
          <title>{`${row.points} points: ${row.speedup.toFixed(2)} times as fast`}</title>
          <circle cx={x(row.points)} cy={y(row.speedup)} r={4} fill="#12b886" />
          <text x={x(row.points)} y={HIGH - BOTTOM + 16} textAnchor="middle">{row.points}</text>
          <text x={x(row.points)} y={y(row.speedup) - 9} textAnchor="middle">{row.speedup.toFixed(2)}</text>
        </g>
      ))}
      <text x={WIDE - 16} y={HIGH - 2} textAnchor="end">points</text>
      <text x={LEFT + 6} y={TOP}>speed-up (dashed: ideal)</text>
    </svg>
  );
}

const percent = (share: number) => `${(share * 100).toFixed(0)} %`;

export function ScalingTable({ rows }: { rows: readonly Row[] }) {
  return (
    <div className="scroll">
      <Table>
        <Table.Thead><Table.Tr><Table.Th>Points</Table.Th><Table.Th>Time</Table.Th><Table.Th>Speed-up</Table.Th><Table.Th>Efficiency</Table.Th><Table.Th>Serial fraction</Table.Th><Table.Th>Communication</Table.Th><Table.Th>Job</Table.Th></Table.Tr></Table.Thead>
        <Table.Tbody>
          {rows.map((row) => (
            <Table.Tr key={row.points}>
              <Table.Td>{row.points}</Table.Td><Table.Td>{seconds(row.wall)}</Table.Td><Table.Td>{row.speedup.toFixed(2)}</Table.Td><Table.Td>{percent(row.efficiency)}</Table.Td>
              <Table.Td>{row.serial === null ? "" : percent(row.serial)}</Table.Td><Table.Td>{percent(row.communication)}</Table.Td><Table.Td><Link href={`/jobs/${row.job}`}>{row.job}</Link></Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </div>
  );
}
