import { Button, Group, Paper, Select, Stack, Table, Tabs, Text, TextInput, Title } from "@mantine/core";
import { useState } from "react";
import { Link, useLocation } from "wouter";
import { useChange } from "../api/change";
import { ask, post } from "../api/http";
import { useAbout, useJob, useLines } from "../api/queries";
import { useRights } from "../api/session";
import type { Program } from "../api/types";
import { Space } from "../jobs/space";
import { Timeline } from "../jobs/timeline";
import { Action } from "../parts/action";
import { bytes, many, seconds } from "../parts/format";
import { Growing } from "../parts/output";
import { Pre } from "../parts/pre";
import { ProblemNote } from "../parts/problem";
import { State } from "../parts/state";
import { Ago, useNow } from "../parts/time";

export default function JobPage({ name }: { name: string }) {
  const found = useJob(name);
  const change = useChange("job", name);
  const [, go] = useLocation();
  const { maySubmit } = useRights();
  const hasModules = useAbout().data?.modules;
  const now = useNow();
  if (!found.data) return <ProblemNote error={found.error} />;
  const { job, programs, summary } = found.data;
  const isOver = job.ended_at !== null;
  return (
    <Stack>
      <Group justify="space-between">
        <Group gap="sm"><Title order={2}>{job.job}</Title><State state={job.state} /></Group>
        {maySubmit && (isOver ? (
          <Group gap="xs">
            {hasModules && <Button size="xs" variant="default" component={Link} href={`/jobs?start=${encodeURIComponent(job.module)}`}>Run again</Button>}
          <Action color="red" variant="subtle" sure={`Remove ${job.job} from the list, with what it printed?`}
            act={async () => { await ask(`/jobs/${job.job}`, { method: "DELETE" }); go("/jobs"); }}>
            Remove
          </Action>
          </Group>
        ) : (
          <Action act={() => change(() => post(`/jobs/${job.job}/stop`))}>Stop</Action>
        ))}
      </Group>
      <Text size="sm">
        {many(job.points, "point")}; began <Ago at={job.created_at} />, {isOver ? "took" : "runs for"} {seconds((job.ended_at ?? now) - job.created_at)}
      </Text>
      {job.why && <ProblemNote error={job.why} />}
      {job.result !== null && job.result !== undefined && (
        <section><Text size="sm" fw={600} mb={4}>Result</Text><Pre label="Result">{written(job.result)}</Pre></section>
      )}
      {summary && <Text size="sm">{summary}</Text>}
      <Tabs defaultValue="output" keepMounted={false}>
        <Tabs.List>
          <Tabs.Tab value="output">Output</Tabs.Tab><Tabs.Tab value="space">Control space</Tabs.Tab>
          <Tabs.Tab value="timeline">Timeline</Tabs.Tab><Tabs.Tab value="points">Points</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="output" pt="sm"><Lines name={name} isOver={isOver} programs={programs} /></Tabs.Panel>
        <Tabs.Panel value="space" pt="sm"><Space name={name} isOver={isOver} programs={programs} /></Tabs.Panel>
        <Tabs.Panel value="timeline" pt="sm"><Timeline programs={programs} begun={job.created_at} /></Tabs.Panel>
        <Tabs.Panel value="points" pt="sm"><Points programs={programs} /></Tabs.Panel>
      </Tabs>
    </Stack>
  );
}

const SHORT = 2000;

function written(result: unknown) {
  const line = JSON.stringify(result);
  return line.length < SHORT ? line : JSON.stringify(result, null, 2);
}

function Lines({ name, isOver, programs }: { name: string; isOver: boolean; programs: readonly Program[] }) {
  const found = useLines(name, isOver);
  const [source, setSource] = useState<string | null>(null);
  const [part, setPart] = useState("");
  const shown = (found.data ?? []).filter((line) => (!source || line.source === source) && (!part || line.text.includes(part)));
  return (
    <Stack gap="xs">
      <Group gap="sm">
        <Select aria-label="Of which program" placeholder="all programs" size="xs" clearable data={programs.map((each) => each.name)} value={source} onChange={setSource} />
        <TextInput aria-label="Lines that contain" placeholder="lines that contain …" size="xs" value={part} onChange={(event) => setPart(event.currentTarget.value)} />
      </Group>
      <ProblemNote error={found.error} />
      <Growing title={many(shown.length, "line")} content={shown.map((line) => `${line.source}${line.node && `@${line.node}`} | ${line.text}\n`).join("")} />
    </Stack>
  );
}

function Points({ programs }: { programs: readonly Program[] }) {
  return (
    <Paper className="scroll">
      <Table>
        <Table.Thead>
          <Table.Tr><Table.Th>Program</Table.Th><Table.Th>State</Table.Th><Table.Th>Node</Table.Th><Table.Th>Made by</Table.Th><Table.Th>Launcher</Table.Th><Table.Th>Language</Table.Th><Table.Th>CPU</Table.Th><Table.Th>Memory</Table.Th><Table.Th>Why</Table.Th></Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {programs.map((each) => (
            <Table.Tr key={each.name}>
              <Table.Td>{each.name}</Table.Td><Table.Td><State state={each.state} /></Table.Td><Table.Td>{each.node}</Table.Td><Table.Td>{each.creator}</Table.Td>
              <Table.Td>{each.launcher}</Table.Td><Table.Td>{each.language}</Table.Td><Table.Td>{seconds(each.cpu_s)}</Table.Td><Table.Td>{bytes(each.memory)}</Table.Td><Table.Td>{each.why}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Paper>
  );
}
