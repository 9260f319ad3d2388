import { Button, Code, Group, Stack, Table, Text, Title } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { Link } from "wouter";
import { useAbout, useJobs } from "../api/queries";
import { useRights } from "../api/session";
import { Start } from "../jobs/start";
import { Empty } from "../parts/empty";
import { seconds } from "../parts/format";
import { useAddress } from "../parts/search";
import { ProblemNote } from "../parts/problem";
import { State } from "../parts/state";
import { Ago, useNow } from "../parts/time";

export default function Jobs() {
  const found = useJobs();
  const { maySubmit } = useRights();
  const hasModules = useAbout().data?.modules;
  const { values, change } = useAddress();
  const again = values.get("start"); // a job's page leads here to run its module again
  const [isOpen, modal] = useDisclosure(again !== null);
  const now = useNow();
  return (
    <Stack>
      <Group justify="space-between">
        <Title order={2}>Jobs</Title>
        {maySubmit && hasModules && (
          <Group gap="xs">
            <Button size="xs" variant="default" component={Link} href="/study">Scaling study</Button>
            <Button size="xs" onClick={modal.open}>Start a job</Button>
          </Group>
        )}
      </Group>
      {maySubmit && hasModules && <Start isOpen={isOpen} module={again} close={() => { modal.close(); change({ start: null }); }} />}
      <ProblemNote error={found.error} />
      {found.data?.length === 0 ? (
        <Empty title="No jobs yet."><Text size="sm">In a terminal: <Code>parcs run factor --on swarm</Code></Text></Empty>
      ) : (
        <div className="scroll">
          <Table verticalSpacing={6}>
            <Table.Thead><Table.Tr><Table.Th>Job</Table.Th><Table.Th>State</Table.Th><Table.Th>Points</Table.Th><Table.Th>Took</Table.Th><Table.Th>Began</Table.Th><Table.Th>Result</Table.Th></Table.Tr></Table.Thead>
            <Table.Tbody>
              {found.data?.map((job) => (
                <Table.Tr key={job.job} className="row">
                  <Table.Td><Link href={`/jobs/${job.job}`}>{job.job}</Link></Table.Td>
                  <Table.Td><State state={job.state} /></Table.Td>
                  <Table.Td>{job.points}</Table.Td>
                  <Table.Td className="nowrap">{seconds((job.ended_at ?? now) - job.created_at)}</Table.Td>
                  <Table.Td><Ago at={job.created_at} /></Table.Td>
                  <Table.Td className="mono" maw={380} style={{ overflow: "hidden", textOverflow: "ellipsis", whiteSpace: "nowrap" }}>
                    {job.why || (job.result === null || job.result === undefined ? "" : JSON.stringify(job.result))}
                  </Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </div>
      )}
    </Stack>
  );
}
