import { Button, Group, NumberInput, Paper, Stack, Table, Text, TextInput, Title } from "@mantine/core";
import { useState } from "react";
import { useChange } from "../api/change";
import { ask } from "../api/http";
import { useLogs } from "../api/queries";
import { useRights } from "../api/session";
import type { Cluster, Service } from "../api/types";
import { Action } from "../parts/action";
import { Empty } from "../parts/empty";
import { Growing } from "../parts/output";
import { ProblemNote } from "../parts/problem";
import { useAddress } from "../parts/search";
import { State } from "../parts/state";
import { Ago } from "../parts/time";

export function Services({ cluster }: { cluster: Cluster }) {
  const { values, change } = useAddress();
  const shown = cluster.services.find((each) => each.id === values.get("service"));
  if (cluster.services.length === 0) {
    return <Empty title="No service runs on this Swarm."><Text size="sm">A job or a stack makes some: parcs run MODULE --on swarm</Text></Empty>;
  }
  return (
    <Stack>
      {shown && <Detail key={shown.id} cluster={cluster} service={shown} close={() => change({ service: null })} />}
      <div className="scroll">
        <Table verticalSpacing={6}>
          <Table.Thead>
            <Table.Tr><Table.Th>Service</Table.Th><Table.Th>Running</Table.Th><Table.Th>Image</Table.Th><Table.Th>Ports</Table.Th><Table.Th>Stack</Table.Th><Table.Th>Made</Table.Th></Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {cluster.services.map((service) => (
              <Table.Tr key={service.id} className="row">
                <Table.Td><Button variant="subtle" size="compact-sm" onClick={() => change({ service: service.id })}>{service.name}</Button></Table.Td>
                <Table.Td>{service.running}{service.replicas === null ? ` (${service.mode})` : ` of ${service.replicas}`}</Table.Td>
                <Table.Td className="mono">{service.image}</Table.Td>
                <Table.Td>{service.ports.join(", ")}</Table.Td>
                <Table.Td>{service.stack || (service.is_own ? "PARCS" : "")}</Table.Td>
                <Table.Td><Ago at={service.created} /></Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </div>
    </Stack>
  );
}

type DetailProps = { cluster: Cluster; service: Service; close: () => void };

function Detail({ cluster, service, close }: DetailProps) {
  const { isAdmin } = useRights();
  const changed = useChange("cluster");
  const [replicas, setReplicas] = useState<number | string>(service.replicas ?? "");
  const [image, setImage] = useState(service.image);
  const [isReading, setReading] = useState(false);
  const nodes = new Map(cluster.nodes.map((node) => [node.id, node.name]));
  const own = cluster.replicas.filter((each) => each.service === service.id).sort((a, b) => a.slot - b.slot || b.changed - a.changed);
  const change = (body: object) => () => changed(() => ask(`/cluster/services/${service.id}`, { method: "PATCH", body }));
  return (
    <Paper withBorder p="md" component="section" aria-label={`Service ${service.name}`}>
      <Stack>
        <Group justify="space-between">
          <Group gap="sm">
            <Title order={3} size="h4">{service.name}</Title>
            <Text size="sm">{service.running}{service.replicas === null ? "" : ` of ${service.replicas}`} running</Text>
            {service.update && <Text size="sm" c="dimmed">last update: {service.update.replaceAll("_", " ")}</Text>}
          </Group>
          <Button size="xs" variant="subtle" onClick={close}>Close</Button>
        </Group>
        {isAdmin && (
          <Group align="flex-end" gap="sm">
            {service.replicas !== null && (
              <Group align="flex-end" gap={4}>
                <NumberInput label="Replicas" min={0} max={10_000} w={100} size="xs" value={replicas} onChange={setReplicas} />
                <Action act={change({ replicas: Number(replicas) })} disabled={replicas === "" || Number(replicas) === service.replicas}>Scale</Action>
              </Group>
            )}
            <Group align="flex-end" gap={4}>
              <TextInput label="Image" w={260} size="xs" value={image} onChange={(event) => setImage(event.currentTarget.value)} />
              <Action act={change({ image })}>Update</Action>
            </Group>
            <Action act={change({ restart: true })} sure={`Replace every container of ${service.name}, one after another?`}>Restart</Action>
            <Action act={change({ rollback: true })} sure={`Make ${service.name} what it was before its last change?`}>Roll back</Action>
            <Action color="red" variant="subtle" sure={`Remove ${service.name} and its containers?${service.is_own ? " PARCS itself made it." : ""}`}
              act={() => changed(() => ask(`/cluster/services/${service.id}`, { method: "DELETE" }).then(close))}>
              Remove
            </Action>
            <Button size="xs" variant="default" onClick={() => setReading(!isReading)}>{isReading ? "Hide logs" : "Logs"}</Button>
          </Group>
        )}
        {isReading && <Logs service={service.id} />}
        <div className="scroll">
          <Table>
            <Table.Thead><Table.Tr><Table.Th>Slot</Table.Th><Table.Th>Node</Table.Th><Table.Th>State</Table.Th><Table.Th>Since</Table.Th><Table.Th>What Docker says</Table.Th></Table.Tr></Table.Thead>
            <Table.Tbody>
              {own.map((each) => (
                <Table.Tr key={each.id}>
                  <Table.Td>{each.slot || ""}</Table.Td><Table.Td>{nodes.get(each.node) ?? "none yet"}</Table.Td>
                  <Table.Td><State state={each.state} /></Table.Td><Table.Td><Ago at={each.changed} /></Table.Td><Table.Td>{each.why}</Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </div>
      </Stack>
    </Paper>
  );
}

function Logs({ service }: { service: string }) {
  const found = useLogs(service);
  return <><ProblemNote error={found.error} /><Growing title="The last lines, by node" content={found.data ?? ""} /></>;
}
