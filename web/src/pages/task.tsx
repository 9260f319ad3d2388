import { Anchor, Button, Code, Group, Paper, SimpleGrid, Stack, Table, Tabs, Text, Title } from "@mantine/core";
import type { ReactNode } from "react";
import { Link, useLocation } from "wouter";
import { useChange } from "../api/change";
import { address, ask, post } from "../api/http";
import { useArchive, useExplained, useTask } from "../api/queries";
import { useMe, useRights } from "../api/session";
import type { Attempt, Submitted, TaskDetail } from "../api/types";
import { Action } from "../parts/action";
import { bytes, seconds } from "../parts/format";
import { Diff, Growing, Output, useLive } from "../parts/output";
import { Pre } from "../parts/pre";
import { ProblemNote } from "../parts/problem";
import { Outcome, State } from "../parts/state";
import { Took } from "../parts/task-table";
import { Ago } from "../parts/time";

const TITLES: Record<string, string> = {
  compile_stdout: "Compiler's output", compile_stderr: "Compiler's messages", stdout: "Output", stderr: "Error output",
};

const SIGNALS: Record<number, string> = {
  6: "(it gave up)", 8: "(a division by 0)", 9: "(killed)", 11: "(a bad address)", 15: "(asked to end)",
};

export default function TaskPage({ id }: { id: number }) {
  const found = useTask(id);
  if (!found.data) return found.error ? <Stack><ProblemNote error={found.error} /><Link href="/tasks">To the tasks</Link></Stack> : null;
  return <Shown detail={found.data} />;
}

function Shown({ detail }: { detail: TaskDetail }) {
  const { task, request, attempts } = detail;
  const isOpen = task.ended === null;
  const live = useLive(task.id, isOpen);
  const explained = useExplained(task.id, task.state === "queued");
  const last = attempts.at(-1);
  return (
    <Stack>
      <Group justify="space-between" align="flex-start">
        <Group gap="sm">
          <Title order={2} style={{ overflowWrap: "anywhere" }}>{task.name || `Task ${task.id}`}</Title>
          <Outcome task={task} />
        </Group>
        <Buttons detail={detail} />
      </Group>
      {(task.why || explained.data?.why) && <Text role="status"><b>{task.state === "queued" ? "It waits: " : "Why: "}</b>{explained.data?.why || task.why}</Text>}
      <Paper withBorder p="sm">
        <SimpleGrid cols={{ base: 2, sm: 3, lg: 6 }} spacing="sm">
          <Fact name="Number">{task.id}{task.array && <> · <Link href={`/tasks?array=${task.array}`}>its array</Link></>}</Fact>
          <Fact name="Submitted"><Ago at={task.created} /> by {task.user}</Fact>
          <Fact name="Took"><Took task={task} /></Fact>
          <Fact name="Exit code">{task.exit_code ?? (task.signal ? `signal ${task.signal} ${SIGNALS[task.signal] ?? ""}` : "")}</Fact>
          <Fact name="CPU and memory">{last && [last.cpu_s ? seconds(last.cpu_s) : "", last.memory ? bytes(last.memory) : ""].filter(Boolean).join(", ")}</Fact>
          <Fact name="Executor">{task.executor}</Fact>
        </SimpleGrid>
      </Paper>
      {isOpen && Object.entries(live?.streams ?? {}).filter(([, content]) => content).map(([stream, content]) => (
        <Growing key={stream} title={TITLES[stream] ?? stream} content={content} />
      ))}
      {!isOpen && last && <Written task={task.id} attempt={last} expected={task.matched === false ? request.expected ?? null : null} />}
      <Tabs defaultValue="request" keepMounted={false}>
        <Tabs.List>
          <Tabs.Tab value="request">What was asked for</Tabs.Tab>
          <Tabs.Tab value="attempts">Attempts ({attempts.length})</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="request" pt="sm"><Request detail={detail} /></Tabs.Panel>
        <Tabs.Panel value="attempts" pt="sm"><Attempts task={task.id} attempts={attempts} /></Tabs.Panel>
      </Tabs>
    </Stack>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return <div><Text size="xs" c="dimmed">{name}</Text><Text size="sm" component="div" mih={22}>{children}</Text></div>;
}

function Buttons({ detail: { task } }: { detail: TaskDetail }) {
  const change = useChange("task", task.id);
  const [, go] = useLocation();
  const { isAdmin, maySubmit } = useRights();
  const me = useMe().data;
  const isMine = isAdmin || (maySubmit && me?.name === task.user);
  return (
    <Group gap="xs">
      {isMine && task.ended === null && <Action act={() => change(() => post(`/tasks/${task.id}/cancel`))}>Cancel</Action>}
      {maySubmit && <Action act={async () => go(`/tasks/${(await post<Submitted>(`/tasks/${task.id}/rerun`, undefined, crypto.randomUUID?.())).first}`)}>Run again</Action>}
      {maySubmit && <Button size="xs" variant="default" component={Link} href={`/tasks/new?from=${task.id}`}>Change and run</Button>}
      {task.ended !== null && <Button size="xs" variant="default" component="a" href={address(`/tasks/${task.id}/output.zip`)} download>Download all</Button>}
      {isMine && task.ended !== null && (
        <Action color="red" variant="subtle" sure={`Delete task ${task.id} with all that it wrote?`}
          act={async () => { await ask(`/tasks/${task.id}`, { method: "DELETE" }); go("/tasks"); }}>
          Delete
        </Action>
      )}
    </Group>
  );
}

function Written({ task, attempt, expected }: { task: number; attempt: Attempt; expected: string | null }) {
  const sizes = Object.entries(attempt.sizes);
  const files = sizes.filter(([name]) => name.startsWith("file/"));
  const streams = Object.keys(TITLES).filter((stream) => attempt.sizes[stream]);
  return (
    <Stack>
      {expected !== null && <Diff task={task} attempt={attempt.number} expected={expected} />}
      {streams.map((stream) => (
        <Output key={stream} task={task} attempt={attempt.number} stream={stream} size={attempt.sizes[stream] ?? 0} title={TITLES[stream] ?? stream} />
      ))}
      {streams.length === 0 && <Text size="sm" c="dimmed">It wrote nothing.</Text>}
      {files.length > 0 && (
        <div>
          <Text size="sm" fw={600}>Kept files</Text>
          {files.map(([name, size]) => (
            <Text size="sm" key={name}>
              <Anchor href={address(`/tasks/${task}/output/${name.split("/").map(encodeURIComponent).join("/")}?attempt=${attempt.number}`)} download={name.split("/").at(-1)}>
                {name.slice(5)}
              </Anchor> {bytes(size)}
            </Text>
          ))}
        </div>
      )}
    </Stack>
  );
}

function Attempts({ task, attempts }: { task: number; attempts: readonly Attempt[] }) {
  if (!attempts.length) return <Text size="sm">It was not given to an executor yet.</Text>;
  return (
    <div className="scroll">
      <Table>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>No.</Table.Th><Table.Th>State</Table.Th><Table.Th>Executor</Table.Th><Table.Th>Began</Table.Th>
            <Table.Th>Took</Table.Th><Table.Th>Exit code</Table.Th><Table.Th>CPU</Table.Th><Table.Th>Memory</Table.Th><Table.Th>Why</Table.Th>
            <Table.Th>Output</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {attempts.map((each) => (
            <Table.Tr key={each.number}>
              <Table.Td>{each.number}</Table.Td>
              <Table.Td><State state={each.state} /></Table.Td>
              <Table.Td>{each.executor}</Table.Td>
              <Table.Td><Ago at={each.started} /></Table.Td>
              <Table.Td>{each.ended ? seconds(each.ended - each.started) : ""}</Table.Td>
              <Table.Td>{each.exit_code}</Table.Td>
              <Table.Td>{seconds(each.cpu_s)}</Table.Td>
              <Table.Td>{bytes(each.memory)}</Table.Td>
              <Table.Td>{each.why}</Table.Td>
              <Table.Td><Anchor href={address(`/tasks/${task}/output.zip?attempt=${each.number}`)} download size="sm">zip</Anchor></Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </div>
  );
}

function Request({ detail: { request, waits_for } }: { detail: TaskDetail }) {
  const { files, stdin, command, compile, expected } = request;
  const archive = useArchive(request.archive);
  const line = (given: string | readonly string[]) => (typeof given === "string" ? given : given.join(" "));
  return (
    <Stack gap="sm">
      {compile && <Text size="sm">Compile: <Code>{line(compile.command)}</Code></Text>}
      <Text size="sm">Command: <Code>{line(command)}</Code></Text>
      {waits_for.length > 0 && <Text size="sm">Waits for: {waits_for.map((id) => <span key={id}><Link href={`/tasks/${id}`}>{id}</Link> </span>)}</Text>}
      {stdin && <Part title="Standard input" content={stdin} />}
      {expected && <Part title="Expected output" content={expected} />}
      {Object.entries({ ...archive.data?.texts, ...files }).map(([path, content]) => <Part key={path} title={path} content={content} />)}
      {archive.data && archive.data.others.length > 0 && <Text size="sm">Files that are no text: {archive.data.others.join(", ")}</Text>}
      <details><summary>All of it, as the API has it</summary><Part title="The request" content={JSON.stringify(request, null, 2)} /></details>
    </Stack>
  );
}

function Part({ title, content }: { title: string; content: string }) {
  return <div><Text size="sm" fw={600} mb={4}>{title}</Text><Pre label={title}>{content}</Pre></div>;
}
