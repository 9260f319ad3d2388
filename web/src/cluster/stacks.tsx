import { Group, Stack, Table, Text } from "@mantine/core";
import { Link } from "wouter";
import { useChange } from "../api/change";
import { ask, post } from "../api/http";
import { useRights } from "../api/session";
import type { Cluster } from "../api/types";
import { Action } from "../parts/action";
import { Empty } from "../parts/empty";
import { many } from "../parts/format";

export function Stacks({ cluster }: { cluster: Cluster }) {
  const { isAdmin } = useRights();
  const change = useChange("cluster");
  const stacks = Map.groupBy(cluster.services.filter((each) => each.stack), (each) => each.stack);
  if (stacks.size === 0) return <Empty title="No stack is deployed."><Text size="sm">docker stack deploy -c FILE NAME</Text></Empty>;
  return (
    <Stack>
      <Table>
        <Table.Thead><Table.Tr><Table.Th>Stack</Table.Th><Table.Th>Services</Table.Th><Table.Th aria-label="Change" /></Table.Tr></Table.Thead>
        <Table.Tbody>
          {[...stacks].map(([name, services]) => (
            <Table.Tr key={name}>
              <Table.Td fw={600}>{name}</Table.Td>
              <Table.Td>
                {services.map((each) => (
                  <Text size="sm" key={each.id}>
                    <Link href={`/cluster?tab=services&service=${each.id}`}>{each.name}</Link> {each.running}{each.replicas === null ? "" : ` of ${each.replicas}`}
                  </Text>
                ))}
              </Table.Td>
              <Table.Td>
                {isAdmin && (
                  <Group gap="xs" wrap="nowrap">
                    <Action sure={`Replace the containers of ${many(services.length, "service")}, one after another, each by what its image's name means now?`}
                      act={() => change(() => post(`/cluster/stacks/${name}/redeploy`))}>
                      Redeploy
                    </Action>
                    <Action color="red" variant="subtle" sure={`Remove ${name}: ${many(services.length, "service")} and their containers?`}
                      act={() => change(() => ask(`/cluster/stacks/${name}`, { method: "DELETE" }))}>
                      Remove
                    </Action>
                  </Group>
                )}
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Stack>
  );
}
