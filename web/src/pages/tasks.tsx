import { Button, Group, MultiSelect, Stack, Text, TextInput, Title } from "@mantine/core";
import { useEffect, useState } from "react";
import { Link } from "wouter";
import { useChange } from "../api/change";
import { post } from "../api/http";
import { useCounts, useTasks } from "../api/queries";
import { useRights } from "../api/session";
import { Action } from "../parts/action";
import { Empty } from "../parts/empty";
import { count, many } from "../parts/format";
import { ProblemNote } from "../parts/problem";
import { useAddress } from "../parts/search";
import { STATES } from "../parts/state";
import { TaskTable } from "../parts/task-table";

const PAGE = 50;
const SEARCHED = ["text", "user", "name", "label", "state", "id", "array", "created_from", "created_until", "executor"];

/** The query of the API that an address of this page means: the names are the same. */
function queryOf(values: URLSearchParams) {
  const search = new URLSearchParams();
  for (const name of SEARCHED) for (const value of values.getAll(name)) search.append(name, value);
  return search;
}

export default function Tasks() {
  const { values, change } = useAddress();
  const search = queryOf(values);
  const page = new URLSearchParams(search);
  page.set("limit", String(PAGE));
  const cursor = values.get("cursor");
  if (cursor) page.set("cursor", cursor);
  const tasks = useTasks(page.toString());
  const counts = useCounts(search.toString());
  const { maySubmit } = useRights();
  const total = Object.values(counts.data ?? {}).reduce((sum, each) => sum + each, 0);
  const isSearch = search.size > 0;
  const found = tasks.data?.tasks ?? [];

  return (
    <Stack>
      <Group justify="space-between">
        <Title order={2}>Tasks</Title>
        {maySubmit && <Button component={Link} href="/tasks/new" size="xs">New task</Button>}
      </Group>
      <Group align="flex-end" gap="sm" role="search">
        <Field name="text" label="Name or command" values={values} change={change} w={220} />
        <MultiSelect label="State" data={STATES.map((state) => ({ value: state, label: state.replaceAll("_", " ") }))}
          value={values.getAll("state")} onChange={(state) => change({ state, cursor: null })} clearable w={260}
          placeholder={values.getAll("state").length ? "" : "any"} />
        <Field name="user" label="By" values={values} change={change} w={120} />
        <Field name="label" label="Label" placeholder="NAME=VALUE" values={values} change={change} w={160} />
        {values.get("executor") && <Field name="executor" label="Executor's id" values={values} change={change} w={140} />}
        {isSearch && <Button variant="subtle" size="sm" component={Link} href="/tasks">Clear</Button>}
      </Group>
      <ProblemNote error={tasks.error ?? counts.error} />
      <Group justify="space-between" mih={30}>
        <Text size="sm" role="status">{counts.data && summary(counts.data, total)}</Text>
        {maySubmit && isSearch && total > 0 && <Together search={search} counts={counts.data ?? {}} />}
      </Group>
      {values.get("array") && <Text size="sm">The tasks of array {values.get("array")}.</Text>}
      {tasks.error && !tasks.data ? null : tasks.data && found.length === 0 ? (
        <Empty title={isSearch ? "No task is like that." : "No tasks yet."}>
          {isSearch
            ? <Text size="sm">Look for less: <Link href="/tasks">all tasks</Link>.</Text>
            : maySubmit && <Button component={Link} href="/tasks/new">New task</Button>}
        </Empty>
      ) : (
        <TaskTable tasks={found} rows={10} />
      )}
      <Group>
        {cursor && <Button variant="default" size="xs" onClick={() => change({ cursor: null })}>Newest</Button>}
        {tasks.data?.next && (
          <Button variant="default" size="xs" onClick={() => change({ cursor: tasks.data?.next ?? null })}>Older</Button>
        )}
      </Group>
    </Stack>
  );
}

function summary(counts: Record<string, number>, total: number) {
  const parts = STATES.filter((state) => counts[state]).map((state) => `${count(counts[state] ?? 0)} ${state.replaceAll("_", " ")}`);
  return total ? `${many(total, "task")}: ${parts.join(", ")}` : "";
}

type FieldProps = {
  name: string; label: string; placeholder?: string; w: number; values: URLSearchParams;
  change: ReturnType<typeof useAddress>["change"];
};

/** A search goes off when the typing pauses. */
function Field({ name, label, placeholder, w, values, change }: FieldProps) {
  const [text, setText] = useState(values.get(name) ?? "");
  const kept = values.get(name) ?? "";
  useEffect(() => setText(kept), [kept]);
  useEffect(() => {
    if (text === kept) return;
    const timer = setTimeout(() => change({ [name]: text, cursor: null }), 300);
    return () => clearTimeout(timer);
  }, [text, kept, name, change]);
  return <TextInput label={label} placeholder={placeholder ?? ""} w={w} value={text} onChange={(e) => setText(e.currentTarget.value)} />;
}

function Together({ search, counts }: { search: URLSearchParams; counts: Record<string, number> }) {
  const change = useChange("tasks");
  const open = (counts.queued ?? 0) + (counts.compiling ?? 0) + (counts.running ?? 0);
  const over = Object.values(counts).reduce((sum, each) => sum + each, 0) - open;
  const all = (verb: string) => () => change(() => post(`/tasks/${verb}`, bodyOf(search)));
  return (
    <Group gap="xs">
      {open > 0 && <Action act={all("cancel")} sure={`Cancel ${many(open, "task")} that this search finds?`}>Cancel these</Action>}
      {over > 0 && (
        <Action act={all("delete")} sure={`Delete ${many(over, "task")} that ${over === 1 ? "is" : "are"} over, with all that they wrote?`}>
          Delete these
        </Action>
      )}
    </Group>
  );
}

function bodyOf(search: URLSearchParams) {
  const body: Record<string, unknown> = {};
  for (const name of ["text", "user", "name", "executor"]) if (search.get(name)) body[name] = search.get(name);
  for (const name of ["array", "created_from", "created_until"]) if (search.get(name)) body[name] = Number(search.get(name));
  if (search.has("id")) body.ids = search.getAll("id").map(Number);
  if (search.has("state")) body.states = search.getAll("state");
  if (search.has("label")) body.labels = Object.fromEntries(search.getAll("label").map((pair) => {
    const at = pair.indexOf("=");
    return [pair.slice(0, at), pair.slice(at + 1)];
  }));
  return body;
}
