import { Button, Group, Modal, Paper, PasswordInput, Select, Stack, Table, Tabs, Text, TextInput, Title } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { type FormEvent, useState } from "react";
import { useChange } from "../api/change";
import { ask, post } from "../api/http";
import { useAudit, useUsers } from "../api/queries";
import { useMe, useRights } from "../api/session";
import type { User } from "../api/types";
import { Action } from "../parts/action";
import { ProblemNote } from "../parts/problem";
import { useAddress } from "../parts/search";
import { Ago } from "../parts/time";
import { TokenList } from "../parts/tokens";

const ROLES = ["admin", "member", "viewer"];

export default function People() {
  const { values, change } = useAddress();
  const { isAdmin } = useRights();
  if (!isAdmin) return <Stack><Title order={2}>People</Title><Text>This page is for admins.</Text></Stack>;
  return (
    <Stack>
      <Title order={2}>People</Title>
      <Tabs value={values.get("tab") ?? "users"} onChange={(tab) => change({ tab, cursor: null })} keepMounted={false}>
        <Tabs.List>
          <Tabs.Tab value="users">Users</Tabs.Tab>
          <Tabs.Tab value="tokens">Tokens</Tabs.Tab>
          <Tabs.Tab value="audit">Who did what</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="users" pt="md"><Users /></Tabs.Panel>
        <Tabs.Panel value="tokens" pt="md"><TokenList isOwn={false} /></Tabs.Panel>
        <Tabs.Panel value="audit" pt="md"><Audit cursor={values.get("cursor") ?? ""} go={(cursor) => change({ cursor })} /></Tabs.Panel>
      </Tabs>
    </Stack>
  );
}

function Users() {
  const found = useUsers();
  const change = useChange("users");
  const [error, setError] = useState<unknown>(null);
  const add = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const given = new FormData(form);
    setError(null);
    change(() => post<User>("/users", { name: given.get("name"), role: given.get("role"), password: given.get("password") || null }, crypto.randomUUID?.()))
      .then(() => form.reset(), setError);
  };
  return (
    <Stack>
      <Paper withBorder p="md" maw={760}>
        <form onSubmit={add}>
          <Group align="flex-end">
            <TextInput name="name" label="New user" required flex={1} autoComplete="off" />
            <Select name="role" label="Role" data={ROLES} defaultValue="member" allowDeselect={false} w={110} />
            <PasswordInput name="password" label="Password" placeholder="8 characters or more" autoComplete="new-password" flex={1} />
            <Button type="submit" variant="default">Add</Button>
          </Group>
          <Text size="xs" c="dimmed" mt="xs">A viewer sees everything and starts nothing; a member runs tasks and jobs of their own; an admin may do all of it. They log in at {location.origin}.</Text>
          <ProblemNote error={error} mt="xs" />
        </form>
      </Paper>
      <ProblemNote error={found.error} />
      <div className="scroll">
        <Table>
          <Table.Thead><Table.Tr><Table.Th>Name</Table.Th><Table.Th>Role</Table.Th><Table.Th>Since</Table.Th><Table.Th aria-label="Change" /></Table.Tr></Table.Thead>
          <Table.Tbody>{found.data?.map((user) => <Row key={user.name} user={user} />)}</Table.Tbody>
        </Table>
      </div>
    </Stack>
  );
}

function Row({ user }: { user: User }) {
  const me = useMe().data;
  const [error, setError] = useState<unknown>(null);
  const changed = useChange("users");
  const change = (body: object) => changed(() => ask(`/users/${user.name}`, { method: "PATCH", body }));
  return (
    <Table.Tr>
      <Table.Td>{user.name}{user.disabled && " (shut out)"}</Table.Td>
      <Table.Td>
        <Select aria-label={`Role of ${user.name}`} size="xs" w={110} data={ROLES} value={user.role} allowDeselect={false}
          disabled={user.name === me?.name} onChange={(role) => void change({ role }).then(() => setError(null), setError)} />
        <ProblemNote error={error} />
      </Table.Td>
      <Table.Td><Ago at={user.created} /></Table.Td>
      <Table.Td>
        <Group gap="xs" wrap="nowrap">
        <NewPassword user={user.name} change={change} />
        {user.name !== me?.name && (user.disabled
          ? <Action act={() => change({ disabled: false })}>Let in again</Action>
          : <Action act={() => change({ disabled: true })} sure={`Shut ${user.name} out? Tokens of theirs are good for nothing then.`}>Shut out</Action>)}
        </Group>
      </Table.Td>
    </Table.Tr>
  );
}

function NewPassword({ user, change }: { user: string; change: (body: object) => Promise<unknown> }) {
  const [isOpen, modal] = useDisclosure(false);
  const [error, setError] = useState<unknown>(null);
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    setError(null);
    change({ password: new FormData(event.currentTarget).get("password") }).then(modal.close, setError);
  };
  return (
    <>
      <Button size="xs" variant="default" onClick={modal.open}>Set password</Button>
      <Modal opened={isOpen} onClose={modal.close} title={`A new password for ${user}`}>
        <form onSubmit={submit}>
          <Stack>
            <PasswordInput name="password" label="Password" description="8 characters or more" autoComplete="new-password" required data-autofocus />
            <ProblemNote error={error} />
            <Button type="submit">Set it</Button>
          </Stack>
        </form>
      </Modal>
    </>
  );
}

function Audit({ cursor, go }: { cursor: string; go: (cursor: string | null) => void }) {
  const found = useAudit(cursor);
  return (
    <Stack>
      <ProblemNote error={found.error} />
      <div className="scroll">
        <Table>
          <Table.Thead><Table.Tr><Table.Th>When</Table.Th><Table.Th>Who</Table.Th><Table.Th>What</Table.Th><Table.Th>To what</Table.Th><Table.Th>From</Table.Th></Table.Tr></Table.Thead>
          <Table.Tbody>
            {found.data?.entries.map((each, i) => (
              <Table.Tr key={`${each.at}.${i}`}>
                <Table.Td><Ago at={each.at} /></Table.Td><Table.Td>{each.user}</Table.Td><Table.Td>{each.action}</Table.Td>
                <Table.Td className="mono" style={{ whiteSpace: "normal" }}>{each.subject}</Table.Td><Table.Td>{each.address}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </div>
      <Group>
        {cursor && <Button variant="default" size="xs" onClick={() => go(null)}>Newest</Button>}
        {found.data?.next && <Button variant="default" size="xs" onClick={() => go(found.data?.next ?? null)}>Older</Button>}
      </Group>
    </Stack>
  );
}
