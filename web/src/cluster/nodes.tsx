import { Badge, Group, Paper, Progress, SimpleGrid, Stack, Text } from "@mantine/core";
import { Link } from "wouter";
import { useChange } from "../api/change";
import { ask } from "../api/http";
import { useExecutors, useLoads } from "../api/queries";
import { useRights } from "../api/session";
import type { Cluster, Executor, Load, Node, Replica } from "../api/types";
import { Action } from "../parts/action";
import { bytes } from "../parts/format";
import { Spark } from "../parts/spark";
import { State } from "../parts/state";

/** A map: each node, and what runs on it. */
export function Nodes({ cluster }: { cluster: Cluster }) {
  const executors = useExecutors().data ?? [];
  const loads = useLoads().data ?? {};
  const names = new Map(cluster.services.map((service) => [service.id, service.name]));
  return (
    <SimpleGrid cols={{ base: 1, sm: 2, lg: 3 }}>
      {cluster.nodes.map((node) => {
        const executor = executors.find((each) => each.host === node.name && each.state !== "gone");
        return (
          <Card key={node.id} node={node} names={names} replicas={cluster.replicas.filter((each) => each.node === node.id)}
            executor={executor} load={executor && loads[executor.id]} />
        );
      })}
    </SimpleGrid>
  );
}

type CardProps = { node: Node; names: Map<string, string>; replicas: Replica[]; executor: Executor | undefined; load: Load | undefined };

function Card({ node, names, replicas, executor, load }: CardProps) {
  const change = useChange("cluster");
  const { isAdmin } = useRights();
  const make = (availability: string) => () =>
    change(() => ask(`/cluster/nodes/${node.id}`, { method: "PATCH", body: { availability } }));
  const labels = Object.entries(node.labels).map(([name, value]) => (value ? `${name}=${value}` : name));
  return (
    <Paper withBorder p="sm" component="section" aria-label={`Node ${node.name}`}>
      <Stack gap={6}>
        <Group justify="space-between" wrap="nowrap">
          <Text fw={600}>{node.name}</Text>
          <Group gap={4} wrap="nowrap">
            <State state={node.state} />
            {node.availability !== "active" && <State state={node.availability} />}
          </Group>
        </Group>
        <Text size="xs" c="dimmed">
          {node.is_leader ? "leader" : node.role} · {node.address} · {node.platform}{labels.length > 0 && ` · ${labels.join(", ")}`}
        </Text>
        <Share name="CPUs reserved" used={`${node.reserved_cpus} of ${node.cpus}`} share={node.reserved_cpus / Math.max(1, node.cpus)} />
        <Share name="Memory reserved" used={`${bytes(node.reserved_memory)} of ${bytes(node.memory)}`} share={node.reserved_memory / Math.max(1, node.memory)} />
        {executor && (
          <Group gap="sm" wrap="nowrap">
            <Text size="xs">
              In use: {Math.round(executor.cpu_percent)} % of the CPUs, {bytes(executor.memory_used)} of memory; {executor.busy} of {executor.slots} slots
            </Text>
            <Spark at={load?.at ?? []} values={load?.cpu_percent ?? []} most={100} label={`CPUs of ${node.name}, the last quarter of an hour`} />
          </Group>
        )}
        <Group gap={4} mih={24}>
          {replicas.map((each) => (
            <Badge key={each.id} variant="light" radius="sm" tt="none" color={each.state === "running" ? "teal" : each.why && each.state !== "running" ? "orange" : "gray"}
              component={Link} href={`/cluster?tab=services&service=${each.service}`} title={`${each.state}${each.why && `: ${each.why}`}`}
              styles={{ root: { cursor: "pointer" }, label: { color: "var(--mantine-color-text)" } }}>
              {names.get(each.service) ?? "?"}{each.slot ? `.${each.slot}` : ""}
            </Badge>
          ))}
          {replicas.length === 0 && <Text size="xs" c="dimmed">Nothing runs here.</Text>}
        </Group>
        {isAdmin && (
          <Group gap={4}>
            {node.availability !== "drain" && (
              <Action act={make("drain")} sure={`Move all that runs on ${node.name} to other nodes, and give it nothing new?`}>Drain</Action>
            )}
            {node.availability !== "active" && <Action act={make("active")}>Activate</Action>}
          </Group>
        )}
      </Stack>
    </Paper>
  );
}

function Share({ name, used, share }: { name: string; used: string; share: number }) {
  return (
    <div>
      <Group justify="space-between"><Text size="xs">{name}</Text><Text size="xs">{used}</Text></Group>
      <Progress value={Math.min(100, share * 100)} size="xs" aria-label={`${name}: ${used}`} />
    </div>
  );
}
