import { Stack, Tabs, Text, Title } from "@mantine/core";
import { useCluster } from "../api/queries";
import type { Cluster } from "../api/types";
import { Nodes } from "../cluster/nodes";
import { Services } from "../cluster/services";
import { Stacks } from "../cluster/stacks";
import { Things } from "../cluster/things";
import { many } from "../parts/format";
import { ProblemNote } from "../parts/problem";
import { useAddress } from "../parts/search";

export default function ClusterPage() {
  const found = useCluster();
  const { values, change } = useAddress();
  return (
    <Stack>
      <Title order={2}>Cluster</Title>
      <ProblemNote error={found.error} />
      {found.data && (
        <>
          <Text size="sm" role="status">{summary(found.data)}</Text>
          <Tabs value={values.get("tab") ?? "nodes"} onChange={(tab) => change({ tab, service: null })} keepMounted={false}>
            <Tabs.List>
              <Tabs.Tab value="nodes">Nodes</Tabs.Tab>
              <Tabs.Tab value="services">Services</Tabs.Tab>
              <Tabs.Tab value="stacks">Stacks</Tabs.Tab>
              <Tabs.Tab value="things">Networks, volumes, registries, secrets</Tabs.Tab>
            </Tabs.List>
            <Tabs.Panel value="nodes" pt="md"><Nodes cluster={found.data} /></Tabs.Panel>
            <Tabs.Panel value="services" pt="md"><Services cluster={found.data} /></Tabs.Panel>
            <Tabs.Panel value="stacks" pt="md"><Stacks cluster={found.data} /></Tabs.Panel>
            <Tabs.Panel value="things" pt="md"><Things cluster={found.data} /></Tabs.Panel>
          </Tabs>
        </>
      )}
    </Stack>
  );
}

function summary({ nodes, services, replicas }: Cluster) {
  const ready = nodes.filter((node) => node.state === "ready").length;
  const running = replicas.filter((each) => each.state === "running").length;
  const away = ready < nodes.length ? `, ${nodes.length - ready} of them not ready` : "";
  return `${many(nodes.length, "node")}${away}; ${many(services.length, "service")}; ${many(running, "container")} running.`;
}
