import { Button, Center, Code, Paper, PasswordInput, Stack, Text, TextInput, Title } from "@mantine/core";
import { type FormEvent, useState } from "react";
import { useSession } from "./api/session";
import { ProblemNote } from "./parts/problem";

export function Login({ problem }: { problem: unknown }) {
  const { enter } = useSession();
  const [error, setError] = useState<unknown>(problem);
  const [isBusy, setBusy] = useState(false);

  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    setBusy(true);
    setError(null);
    enter({ name: String(given.get("name")), password: String(given.get("password")) })
      .catch(setError)
      .finally(() => setBusy(false));
  };

  return (
    <Center component="main" mih="100vh" p="md">
      <Paper withBorder p="xl" w="100%" maw={400}>
        <form onSubmit={submit}>
          <Stack>
            <Title order={1} size="h3">PARCS</Title>
            <TextInput name="name" label="Name" autoComplete="username" required autoFocus />
            <PasswordInput name="password" label="Password" autoComplete="current-password" required />
            <ProblemNote error={error} />
            <Button type="submit" loading={isBusy}>Log in</Button>
            <Text size="sm" c="dimmed">
              No password? On the hub's machine, <Code>parcs up</Code> prints a link that logs you in once, also while the
              hub runs. An admin sets passwords on the page (People), or by <Code>parcs user set NAME --password</Code>.
            </Text>
          </Stack>
        </form>
      </Paper>
    </Center>
  );
}
