import { Button, Code, Group, Modal, Progress, Stack, Table, Text, TextInput, Title } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useState } from "react";
import { Link } from "wouter";
import { useChange } from "../api/change";
import { post } from "../api/http";
import { useExecutors, useHubs, useLoads } from "../api/queries";
import { useRights } from "../api/session";
import type { Executor, NewToken } from "../api/types";
import { Action } from "../parts/action";
import { Copy } from "../parts/copy";
import { Empty } from "../parts/empty";
import { bytes, many } from "../parts/format";
import { ProblemNote } from "../parts/problem";
import { Spark } from "../parts/spark";
import { State } from "../parts/state";
import { Ago } from "../parts/time";

const DAY_S = 86_400;

export default function Executors() {
  const found = useExecutors();
  const hubs = useHubs();
  const { isAdmin } = useRights();
  const live = found.data?.filter((each) => each.state !== "gone") ?? [];
  const gone = found.data?.filter((each) => each.state === "gone") ?? [];
  return (
    <Stack>
      <Group justify="space-between">
        <Title order={2}>Executors</Title>
        {isAdmin && <Join />}
      </Group>
      <ProblemNote error={found.error} />
      {found.data && live.length === 0 && (
        <Empty title="No executor is connected.">
          <Text size="sm">{isAdmin ? "Press “Add an executor”: one command on any computer that reaches this hub." : "An admin can add one."}</Text>
        </Empty>
      )}
      {live.length > 0 && <List executors={live} />}
      {gone.length > 0 && (
        <details>
          <summary>{many(gone.length, "executor")} that {gone.length === 1 ? "is" : "are"} gone</summary>
          <List executors={gone} />
        </details>
      )}
      <Title order={3} size="h4" id="hubs">Hubs</Title>
      <div className="scroll">
        <Table>
          <Table.Thead><Table.Tr><Table.Th>Address</Table.Th><Table.Th>Version</Table.Th><Table.Th>Since</Table.Th><Table.Th>Seen</Table.Th></Table.Tr></Table.Thead>
          <Table.Tbody>
            {hubs.data?.map((hub) => (
              <Table.Tr key={hub.id}>
                <Table.Td>{hub.address}</Table.Td><Table.Td>{hub.version}</Table.Td>
                <Table.Td><Ago at={hub.started} /></Table.Td><Table.Td><Ago at={hub.last_seen} /></Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </div>
    </Stack>
  );
}

function List({ executors }: { executors: Executor[] }) {
  const loads = useLoads().data ?? {};
  const { isAdmin } = useRights();
  return (
    <div className="scroll">
      <Table verticalSpacing={6}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Name</Table.Th><Table.Th>State</Table.Th><Table.Th>Slots</Table.Th><Table.Th>Its machine's CPU</Table.Th><Table.Th>and memory</Table.Th>
            <Table.Th>Isolation</Table.Th><Table.Th>Labels</Table.Th><Table.Th>Version</Table.Th><Table.Th>Seen</Table.Th>{isAdmin && <Table.Th aria-label="Change" />}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {executors.map((each) => (
            <Table.Tr key={each.id} className="row">
              <Table.Td title={`${each.host} (${each.id})`}><Link href={`/tasks?executor=${encodeURIComponent(each.id)}`}>{each.name}</Link></Table.Td>
              <Table.Td><State state={each.state} /></Table.Td>
              <Table.Td><Meter label={`${each.busy} of ${each.slots}`} share={each.busy / Math.max(1, each.slots)} /></Table.Td>
              <Table.Td>
                <Text size="xs">{Math.round(each.cpu_percent)} %</Text>
                <Spark at={loads[each.id]?.at ?? []} values={loads[each.id]?.cpu_percent ?? []} most={100}
                  label={`CPU of ${each.name}, the last quarter of an hour`} />
              </Table.Td>
              <Table.Td><Meter label={`${bytes(each.memory_used)} of ${bytes(each.memory)}`} share={each.memory_used / Math.max(1, each.memory)} /></Table.Td>
              <Table.Td>{each.levels.join(", ")}</Table.Td>
              <Table.Td>{Object.entries(each.labels).map(([name, value]) => `${name}=${value}`).join(", ")}</Table.Td>
              <Table.Td>{each.version}</Table.Td>
              <Table.Td><Ago at={each.last_seen} /></Table.Td>
              {isAdmin && <Table.Td><Verbs executor={each} /></Table.Td>}
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </div>
  );
}

function Meter({ label, share }: { label: string; share: number }) {
  return (
    <div style={{ minWidth: 90 }}>
      <Text size="xs" className="nowrap">{label}</Text>
      <Progress value={Math.min(100, share * 100)} size="xs" aria-label={label} />
    </div>
  );
}

function Verbs({ executor }: { executor: Executor }) {
  const change = useChange("executors");
  const send = (verb: string) => () => change(() => post(`/executors/${executor.id}/${verb}`));
  if (executor.state === "gone") return null;
  return executor.state === "active" ? (
    <Group gap={4} wrap="nowrap">
      <Action act={send("drain")}>Drain</Action>
      <Action act={send("disable")}>Disable</Action>
    </Group>
  ) : (
    <Action act={send("enable")}>Enable</Action>
  );
}

/** A token for executors, and the command that uses it. */
function Join() {
  const [isOpen, modal] = useDisclosure(false);
  const [name, setName] = useState("");
  const [made, setMade] = useState<NewToken | null>(null);
  return (
    <>
      <Button size="xs" onClick={modal.open}>Add an executor</Button>
      <Modal opened={isOpen} onClose={() => { modal.close(); setMade(null); }} title="Add an executor" size="lg">
        <Stack>
          {!made && (
            <Group align="flex-end">
              <TextInput label="Name of the token" description="whose computer it is, say" value={name} onChange={(event) => setName(event.currentTarget.value)} flex={1} data-autofocus />
              <Action size="sm" variant="filled" disabled={!name.trim()}
                act={async () => setMade(await post<NewToken>("/tokens", { name, kind: "executor", lasts_s: 365 * DAY_S }))}>
                Make a token
              </Action>
            </Group>
          )}
          {made && (
            <>
              <Text size="sm">On the computer that is to run tasks (Python 3.11 or later; it only dials out, so a NAT is no obstacle):</Text>
              {["localhost", "127.0.0.1", "[::1]"].includes(location.hostname) && (
                <Text size="sm" c="red">
                  This hub listens to its own computer only, so no other one reaches it. For others, start it with
                  <Code>parcs hub --host 0.0.0.0</Code> and open this page by the computer's name or address.
                </Text>
              )}
              <Copy text={'pip install "parcs[hub]"'} />
              <Copy text={`PARCS_EXECUTOR_TOKEN=${made.secret} parcs executor --hub ${location.origin}`} />
              <Text size="sm">
                The token is shown once, can run tasks and nothing else, and is good for a year. Revoke it
                on <Link href="/account">your tokens</Link>.
              </Text>
            </>
          )}
        </Stack>
      </Modal>
    </>
  );
}
