import { Table, Text } from "@mantine/core";
import { Link } from "wouter";
import type { Task } from "../api/types";
import { seconds } from "./format";
import { Outcome } from "./state";
import { Ago, useNow } from "./time";

/** Tasks, one a row. `rows` keeps the height while they come. */
export function TaskTable({ tasks, rows = 0 }: { tasks: readonly Task[]; rows?: number }) {
  return (
    <div className="scroll" style={{ minHeight: rows * 37 + 38 }}>
      <Table verticalSpacing={6}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Task</Table.Th><Table.Th>State</Table.Th><Table.Th>What</Table.Th><Table.Th>Took</Table.Th>
            <Table.Th visibleFrom="sm">By</Table.Th><Table.Th visibleFrom="md">Executor</Table.Th><Table.Th>Submitted</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {tasks.map((task) => (
            <Table.Tr key={task.id} className="row">
              <Table.Td><Link href={`/tasks/${task.id}`}>{task.id}</Link></Table.Td>
              <Table.Td><Outcome task={task} /></Table.Td>
              <Table.Td maw={420} style={{ overflow: "hidden", textOverflow: "ellipsis", whiteSpace: "nowrap" }}
                title={task.why || task.command}>
                {task.name || <span className="mono">{task.command}</span>}
                {values(task) && <Text span size="xs" c="dimmed" ml={8}>{values(task)}</Text>}
              </Table.Td>
              <Table.Td className="nowrap"><Took task={task} /></Table.Td>
              <Table.Td visibleFrom="sm">{task.user}</Table.Td>
              <Table.Td visibleFrom="md">{task.executor}</Table.Td>
              <Table.Td><Ago at={task.created} /></Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </div>
  );
}

/** What makes it different from the others of its array. */
const values = (task: Task) => Object.entries(task.parameters).map(([name, value]) => `${name}=${value}`).join(", ");

export function Took({ task }: { task: Task }) {
  const now = useNow();
  if (task.started === null || task.started === undefined) return null;
  return <>{task.ended ? seconds(task.ended - task.started) : seconds(Math.max(0, Math.round(now - task.started)))}</>;
}
