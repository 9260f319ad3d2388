import { SimpleGrid, Table, Text, Title } from "@mantine/core";
import type { ReactNode } from "react";
import type { Cluster } from "../api/types";
import { Ago } from "../parts/time";

export function Things({ cluster }: { cluster: Cluster }) {
  return (
    <SimpleGrid cols={{ base: 1, lg: 2 }} spacing="xl">
      <List title="Networks" head={["Name", "Driver", "Scope", "Addresses"]}
        rows={cluster.networks.map((each) => [each.name, each.driver, each.scope, each.subnets.join(", ")])} />
      <List title="Volumes" note="Of the manager that was asked." head={["Name", "Made"]} rows={cluster.volumes.map(named)} />
      <List title="Registries" note="That the services' images come from." head={["Name", "Services"]} rows={registries(cluster)} />
      <List title="Secrets" note="Their names; what is in them is never shown." head={["Name", "Made"]} rows={cluster.secrets.map(named)} />
      <List title="Configs" head={["Name", "Made"]} rows={cluster.configs.map(named)} />
    </SimpleGrid>
  );
}

/** The first part of an image's name, if it looks like a host; Docker's own registry needs none. */
function registries({ services }: Cluster): ReactNode[][] {
  const used = new Map<string, number>();
  for (const { image } of services) {
    const [first = "", ...rest] = image.split("/");
    const registry = rest.length && (/[.:]/.test(first) || first === "localhost") ? first : "docker.io";
    used.set(registry, (used.get(registry) ?? 0) + 1);
  }
  return [...used].sort(([a], [b]) => a.localeCompare(b));
}

const named = (each: { id: string; name: string; created: number }) => [each.name, <Ago key={each.id} at={each.created || null} />];

function List({ title, note, head, rows }: { title: string; note?: string; head: string[]; rows: ReactNode[][] }) {
  return (
    <section>
      <Title order={3} size="h5">{title}</Title>
      {note && <Text size="xs" c="dimmed">{note}</Text>}
      {rows.length === 0 ? <Text size="sm">None.</Text> : (
        <div className="scroll">
          <Table>
            <Table.Thead><Table.Tr>{head.map((name) => <Table.Th key={name}>{name}</Table.Th>)}</Table.Tr></Table.Thead>
            <Table.Tbody>{rows.map((cells, i) => <Table.Tr key={i}>{cells.map((cell, j) => <Table.Td key={j}>{cell}</Table.Td>)}</Table.Tr>)}</Table.Tbody>
          </Table>
        </div>
      )}
    </section>
  );
}
