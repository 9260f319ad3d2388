import { Code, Paper, Stack, Table, Text, Title } from "@mantine/core";
import { useModules } from "../api/queries";
import type { ModuleImage } from "../api/types";
import { Copy } from "../parts/copy";
import { Empty } from "../parts/empty";
import { bytes } from "../parts/format";
import { ProblemNote } from "../parts/problem";

export default function Modules() {
  const found = useModules();
  return (
    <Stack>
      <Title order={2}>Modules</Title>
      <ProblemNote error={found.error} />
      {found.data?.length === 0 && (
        <Empty title="The registry has no modules."><Text size="sm"><Code>parcs new NAME</Code> makes one, <Code>parcs module push</Code> brings it here.</Text></Empty>
      )}
      {found.data?.map((each) => <Card key={`${each.name}:${each.tag}`} module={each} />)}
    </Stack>
  );
}

function Card({ module }: { module: ModuleImage }) {
  const parameters = Object.entries(module.parameters);
  const example = parameters.map(([name, { default: value }]) => ` -e ${name}=${value ?? "…"}`).join("");
  return (
    <Paper withBorder p="md" component="section" aria-label={`Module ${module.name}`}>
      <Stack gap="xs">
        <Title order={3} size="h4">{module.name}:{module.tag}</Title>
        <Text size="sm">{module.about}</Text>
        <Text size="xs" c="dimmed">{[module.language, module.platform, bytes(module.size)].filter(Boolean).join(" · ")} · <span className="mono">{module.digest}</span></Text>
        {parameters.length > 0 && (
          <div className="scroll"><Table>
            <Table.Thead><Table.Tr><Table.Th>Parameter</Table.Th><Table.Th>Type</Table.Th><Table.Th>Default</Table.Th><Table.Th>What it is</Table.Th></Table.Tr></Table.Thead>
            <Table.Tbody>
              {parameters.map(([name, each]) => (
                <Table.Tr key={name}><Table.Td>{name}</Table.Td><Table.Td>{each.type}</Table.Td><Table.Td>{each.default ?? ""}</Table.Td><Table.Td>{each.help}</Table.Td></Table.Tr>
              ))}
            </Table.Tbody>
          </Table></div>
        )}
        <Copy text={`parcs run ${module.name}${example} --on swarm`} />
      </Stack>
    </Paper>
  );
}
