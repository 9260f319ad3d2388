import { Button, Group, Paper, PasswordInput, Select, Stack, TextInput, Title } from "@mantine/core";
import { type FormEvent, useState } from "react";
import { useChange } from "../api/change";
import { ask, post } from "../api/http";
import { useMe } from "../api/session";
import type { NewToken } from "../api/types";
import { Copy } from "../parts/copy";
import { ProblemNote } from "../parts/problem";
import { TokenList } from "../parts/tokens";

const DAY_S = 86_400;
const LASTS: Record<string, number | null> = { "a day": DAY_S, "a month": 30 * DAY_S, "a year": 365 * DAY_S, "until revoked": null };

export default function Account() {
  return (
    <Stack>
      <Title order={2}>Password and tokens</Title>
      <NewPassword />
      <NewTokenForm />
      <TokenList isOwn />
    </Stack>
  );
}

function NewPassword() {
  const me = useMe().data;
  const [said, setSaid] = useState("");
  const [error, setError] = useState<unknown>(null);
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const password = String(new FormData(form).get("password"));
    setError(null);
    setSaid("");
    ask(`/users/${me?.name}`, { method: "PATCH", body: { password } }).then(() => {
      form.reset();
      setSaid("It is changed.");
    }, setError);
  };
  return (
    <Paper withBorder p="md" maw={560}>
      <form onSubmit={submit}>
        <Group align="flex-end">
          <input type="text" name="username" autoComplete="username" value={me?.name ?? ""} readOnly hidden />
          <PasswordInput name="password" label="New password" autoComplete="new-password" required flex={1} description={said} />
          <Button type="submit" variant="default">Change it</Button>
        </Group>
        <ProblemNote error={error} mt="xs" />
      </form>
    </Paper>
  );
}

function NewTokenForm() {
  const change = useChange("tokens");
  const [made, setMade] = useState<NewToken | null>(null);
  const [error, setError] = useState<unknown>(null);
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const given = new FormData(form);
    setError(null);
    const lasts_s = LASTS[String(given.get("lasts"))] ?? null;
    change(() => post<NewToken>("/tokens", { name: given.get("name"), kind: "api", lasts_s })).then((token) => {
      form.reset();
      setMade(token);
    }, setError);
  };
  return (
    <Paper withBorder p="md" maw={560}>
      <form onSubmit={submit}>
        <Group align="flex-end">
          <TextInput name="name" label="New token, for" placeholder="my laptop" required flex={1} />
          <Select name="lasts" label="Good for" data={Object.keys(LASTS)} defaultValue="a month" allowDeselect={false} w={130} />
          <Button type="submit" variant="default">Make it</Button>
        </Group>
        <ProblemNote error={error} mt="xs" />
      </form>
      {made && (
        <Stack gap="xs" mt="md">
          <span>It is shown once. In a terminal:</span>
          <Copy text={`echo ${made.secret} | parcs login ${location.origin}`} />
        </Stack>
      )}
    </Paper>
  );
}
