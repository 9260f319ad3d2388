import { Stack, Table, Text } from "@mantine/core";
import { useChannels } from "../api/queries";
import type { Flow, Program } from "../api/types";
import { bytes, count, many } from "../parts/format";

const WIDE = 900, DEEP = 120, BOX = 130, HIGH = 40, FEW = 24, MOST_ROWS = 200;
const COLORS: Record<string, string> = { running: "#12b886", starting: "#adb5bd", failed: "#e03131" };
const GREY = "#868e96", WAITS = "#e8590c";

type Place = { x: number; y: number };

/** The control space: programs below those that made them, and the channels between them, as they are now. */
export function Space({ name, isOver, programs }: { name: string; isOver: boolean; programs: readonly Program[] }) {
  const flows = useChannels(name, isOver).data ?? [];
  const waiting = flows.filter((flow) => Object.keys(flow.waits).length);
  return (
    <Stack gap="xs">
      <Picture programs={programs} flows={flows} />
      {waiting.length > 0 && <Text size="xs" c="dimmed"><span style={{ color: WAITS }}>●</span> a program that waits there, for a message or until its own is taken</Text>}
      {flows.length > 0 && <Channels flows={flows} />}
      {flows.length === 0 && <Text size="sm" c="dimmed">{isOver ? "It has told of no channels." : "What the channels carry is told every other second."}</Text>}
    </Stack>
  );
}

function Picture({ programs, flows }: { programs: readonly Program[]; flows: readonly Flow[] }) {
  const known = new Map(programs.map((each) => [each.name, each]));
  const { places, wide, high } = layout(known, flows);
  const carried = new Set(flows.map((flow) => pair(flow.one, flow.other)));
  return (
    <div className="scroll">
      <svg viewBox={`0 0 ${wide} ${high}`} width={wide} role="img" aria-label="The control space" style={{ maxWidth: wide > WIDE ? undefined : "100%", minWidth: 600 }}>
        {programs.map((each) => {
          const from = places.get(each.creator), to = places.get(each.name);
          return from && to && !carried.has(pair(each.creator, each.name)) ? <path key={each.name} d={curve(from, to)} stroke={GREY} strokeDasharray="4 4" fill="none" /> : null;
        })}
        {flows.map((flow) => <Wire key={flow.channel + flow.one} flow={flow} places={places} isNamed={flows.length <= FEW} />)}
        {[...places].map(([name, at]) => <Box key={name} name={name} at={at} program={known.get(name)} />)}
      </svg>
    </div>
  );
}

function Wire({ flow, places, isNamed }: { flow: Flow; places: Map<string, Place>; isNamed: boolean }) {
  const from = places.get(flow.one), to = places.get(flow.other);
  if (!from || !to) return null;
  const middle = at(from, to, 0.5);
  const waits = Object.keys(flow.waits);
  return (
    <g>
      <title>{`${flow.one} – ${flow.other}: ${carries(flow)}${waits.map((each) => `; ${each} waits to ${flow.waits[each]}`).join("")}`}</title>
      <path d={curve(from, to)} stroke={waits.length ? WAITS : "currentColor"} strokeOpacity={0.6} strokeWidth={1.5} fill="none" />
      {waits.map((each) => {
        const near = at(from, to, each === flow.one ? 0.3 : 0.7);
        return <circle key={each} cx={near.x} cy={near.y} r={4} fill={WAITS} />;
      })}
      {isNamed && (
        <text x={middle.x} y={middle.y - 2} textAnchor="middle" fontSize="10.5" fill="currentColor" stroke="var(--mantine-color-body)" strokeWidth={3} paintOrder="stroke">
          {carries(flow)}
        </text>
      )}
    </g>
  );
}

function Box({ name, at, program }: { name: string; at: Place; program: Program | undefined }) {
  const state = program?.state ?? "running";
  return (
    <g transform={`translate(${at.x - BOX / 2} ${at.y - HIGH / 2})`} fontSize="12">
      <title>{program ? `${name}: ${state}${program.why && `, ${program.why}`}` : `${name}: outside the Swarm`}</title>
      <rect width={BOX} height={HIGH} rx={4} fill="var(--mantine-color-body)" stroke={COLORS[state] ?? GREY} strokeWidth={2} />
      <text x={BOX / 2} y={17} textAnchor="middle" fill="currentColor" fontWeight="600">{name.slice(0, 18)}</text>
      <text x={BOX / 2} y={32} textAnchor="middle" fill="currentColor">{program ? program.node || state : "outside"}</text>
    </g>
  );
}

function Channels({ flows }: { flows: readonly Flow[] }) {
  return (
    <div className="scroll">
      <Table verticalSpacing={4}>
        <Table.Thead><Table.Tr><Table.Th>Channel</Table.Th><Table.Th>Messages there</Table.Th><Table.Th>and back</Table.Th><Table.Th>Bytes there</Table.Th><Table.Th>and back</Table.Th><Table.Th>Waits</Table.Th></Table.Tr></Table.Thead>
        <Table.Tbody>
          {flows.slice(0, MOST_ROWS).map((flow) => (
            <Table.Tr key={flow.channel + flow.one}>
              <Table.Td className="nowrap">{flow.one} – {flow.other}</Table.Td>
              <Table.Td>{count(flow.sent)}</Table.Td><Table.Td>{count(flow.received)}</Table.Td>
              <Table.Td>{bytes(flow.bytes_sent)}</Table.Td><Table.Td>{bytes(flow.bytes_received)}</Table.Td>
              <Table.Td>{Object.entries(flow.waits).map(([name, what]) => `${name} to ${what}`).join(", ")}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      {flows.length > MOST_ROWS && <Text size="xs" c="dimmed">And {count(flows.length - MOST_ROWS)} more.</Text>}
    </div>
  );
}

const carries = (flow: Flow) => `${many(flow.sent + flow.received, "message")}, ${bytes(flow.bytes_sent + flow.bytes_received)}`;
const pair = (one: string, other: string) => [one, other].sort().join(" ");

/** Each program one level below its creator; a creator outside the Swarm is in no list, and has its place all the same. */
function layout(known: Map<string, Program>, flows: readonly Flow[]) {
  const names = new Set([...known.values()].flatMap((each) => [each.creator || each.name, each.name]));
  for (const flow of flows) names.add(flow.one).add(flow.other);
  const levels: string[][] = [];
  for (const name of names) {
    const deep = depth(name, known);
    levels[deep] = [...(levels[deep] ?? []), name];
  }
  const rows = levels.filter(Boolean);
  const wide = Math.max(WIDE, ...rows.map((row) => row.length * (BOX + 14)));
  const places = new Map<string, Place>();
  for (const [y, row] of rows.entries()) {
    for (const [i, name] of row.entries()) places.set(name, { x: ((i + 0.5) * wide) / row.length, y: y * DEEP + 30 });
  }
  return { places, wide, high: rows.length * DEEP };
}

function depth(name: string, known: Map<string, Program>) {
  let deep = 0;
  const seen = new Set([name]);
  for (let creator = known.get(name)?.creator; creator && !seen.has(creator); creator = known.get(creator)?.creator) {
    seen.add(creator);
    deep += 1;
  }
  return deep;
}

/** Between two of one level the line hangs below them. */
const bend = (from: Place, to: Place) => ({ x: (from.x + to.x) / 2, y: from.y === to.y ? from.y + 90 : (from.y + to.y) / 2 });
const curve = (from: Place, to: Place) => `M ${from.x} ${from.y} Q ${bend(from, to).x} ${bend(from, to).y} ${to.x} ${to.y}`;

function at(from: Place, to: Place, t: number): Place {
  const { x, y } = bend(from, to);
  const mix = (a: number, b: number, c: number) => (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t ** 2 * c;
  return { x: mix(from.x, x, to.x), y: mix(from.y, y, to.y) };
}
