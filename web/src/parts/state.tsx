import { Badge, Text } from "@mantine/core";
import type { Task } from "../api/types";

const COLORS: Record<string, string> = {
  queued: "gray", compiling: "blue", running: "blue", succeeded: "green", failed: "red", timed_out: "orange",
  compile_failed: "red", lost: "red", cancelled: "gray", active: "green", draining: "yellow", disabled: "orange", gone: "gray",
  ready: "green", down: "red", pause: "orange", drain: "yellow", complete: "green", rejected: "red", shutdown: "gray",
};
export const STATES = [
  "queued", "compiling", "running", "succeeded", "failed", "timed_out", "compile_failed", "lost", "cancelled",
];

/** The search for tasks that went wrong. */
export const FAILED = "/tasks?state=failed&state=timed_out&state=compile_failed&state=lost";

/** A task's state, and whether it wrote what was expected. */
export function Outcome({ task }: { task: Task }) {
  return (
    <span className="nowrap">
      <State state={task.state} />
      {task.matched === false && <Text span size="xs" ml={6} c="orange.9" fw={600}>not as expected</Text>}
      {task.matched && <Text span size="xs" ml={6} c="dimmed">as expected</Text>}
    </span>
  );
}

/** A state as a word; its colour says nothing more. */
export function State({ state }: { state: string }) {
  return (
    <Badge variant="light" color={COLORS[state] ?? "gray"} radius="sm" tt="none" fw={600} autoContrast
      styles={{ root: { minWidth: "max-content" }, label: { color: "var(--mantine-color-text)" } }}>
      {state.replaceAll("_", " ")}
    </Badge>
  );
}
