import { Anchor, Button, Code, Group, Paper, SimpleGrid, Stack, Text, Title } from "@mantine/core";
import { memo, type ReactNode } from "react";
import { Link } from "wouter";
import { useExecutors, useHistory, useHubs, useTasks } from "../api/queries";
import { useRights } from "../api/session";
import type { Sample } from "../api/types";
import { attention } from "../parts/attention";
import { Chart } from "../parts/chart";
import { count, rate } from "../parts/format";
import { FAILED } from "../parts/state";
import { useNow } from "../parts/time";
import { TaskTable } from "../parts/task-table";

const GREEN = "#2f9e44", RED = "#e03131", BLUE = "#1c7ed6", GRAY = "#868e96";

export function Overview() {
  const history = useHistory();
  const recent = useTasks("limit=8");
  const { maySubmit } = useRights();
  const samples = history.data?.samples ?? [];
  const last = samples.at(-1);
  const isNew = recent.data?.tasks.length === 0;
  return (
    <Stack>
      <Group justify="space-between">
        <Title order={2}>Overview</Title>
        {maySubmit && <Button component={Link} href="/tasks/new" size="xs">New task</Button>}
      </Group>
      <Attention last={last} />
      <SimpleGrid cols={{ base: 2, sm: 3, lg: 6 }} spacing="sm">
        <Figure name="Done per second" value={last && rate(last.succeeded_per_s)} to="/tasks?state=succeeded" />
        <Figure name="Failed per second" value={last && rate(last.failed_per_s)} to={FAILED} />
        <Figure name="Waiting" value={last && count(last.counts.queued ?? 0)} to="/tasks?state=queued" />
        <Figure name="Running" value={last && count(running(last))} to="/tasks?state=running&state=compiling" />
        <Figure name="Slots busy" value={last && `${count(last.busy)} of ${count(last.slots)}`} to="/executors" />
        <Figure name="Executors" value={last && count(last.executors)} to="/executors" />
      </SimpleGrid>
      <Charts samples={samples} />
      <Title order={3} size="h4">Latest tasks</Title>
      {isNew ? (
        <Paper withBorder p="lg">
          <Text fw={600}>No tasks yet.</Text>
          <Text size="sm">
            {maySubmit && <>Press <Anchor component={Link} href="/tasks/new">New task</Anchor>, or in a terminal: </>}
            <Code>parcs submit -- echo hello</Code>
          </Text>
        </Paper>
      ) : (
        <TaskTable tasks={recent.data?.tasks ?? []} rows={8} />
      )}
    </Stack>
  );
}

const running = (sample: Sample) => (sample.counts.running ?? 0) + (sample.counts.compiling ?? 0);

function Figure({ name, value, to }: { name: string; value: string | undefined; to: string }) {
  return (
    <Paper withBorder p="sm" component={Link} href={to} className="plain">
      <Text size="xs" c="dimmed">{name}</Text>
      <Text size="xl" fw={600} mih={31}>{value ?? " "}</Text>
    </Paper>
  );
}

const Charts = memo(({ samples }: { samples: readonly Sample[] }) => {
  const times = samples.map((sample) => sample.at);
  const of = (pick: (sample: Sample) => number) => samples.map(pick);
  return (
    <SimpleGrid cols={{ base: 1, lg: 3 }}>
      <Panel title="Tasks that ended, per second">
        <Chart times={times} label="Tasks that ended, per second" format={rate} lines={[
          { label: "succeeded", color: GREEN, values: of((s) => s.succeeded_per_s), isFilled: true },
          { label: "failed", color: RED, values: of((s) => s.failed_per_s) },
          { label: "cancelled", color: GRAY, values: of((s) => s.cancelled_per_s) },
        ]} />
      </Panel>
      <Panel title="Waiting">
        <Chart times={times} label="Tasks that wait" format={count} lines={[
          { label: "waiting", color: GRAY, values: of((s) => s.counts.queued ?? 0), isFilled: true },
        ]} />
      </Panel>
      <Panel title="Slots">
        <Chart times={times} label="Slots, and the busy ones" format={count} lines={[
          { label: "slots", color: GRAY, values: of((s) => s.slots) },
          { label: "running", color: BLUE, values: of(running), isFilled: true },
        ]} />
      </Panel>
    </SimpleGrid>
  );
});

function Panel({ title, children }: { title: string; children: ReactNode }) {
  return (
    <Paper withBorder p="sm" style={{ minWidth: 0 }}>
      <Text size="sm" fw={600} mb={4}>{title}</Text>
      {children}
    </Paper>
  );
}

function Attention({ last }: { last: Sample | undefined }) {
  const executors = useExecutors().data;
  const hubs = useHubs().data;
  const oldest = useTasks("state=queued&order=asc&limit=1").data?.tasks[0];
  const now = useNow();
  if (!last || !executors || !hubs) return <Paper withBorder p="sm"><Text size="sm">&nbsp;</Text></Paper>;
  const found = attention({ last, executors, hubs, oldest, now });
  return (
    <Paper withBorder p="sm" role="status">
      {found.length === 0 && <Text size="sm">Nothing needs attention.</Text>}
      {found.map((each) => (
        <Text size="sm" key={each.text}>
          {each.text} <Anchor component={Link} href={each.to}>{each.link}</Anchor>
        </Text>
      ))}
    </Paper>
  );
}
