import { Button, Modal, NumberInput, Select, Stack, Text, TextInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useLocation } from "wouter";
import { post } from "../api/http";
import { useModules } from "../api/queries";
import { ProblemNote } from "../parts/problem";

/** A form that a module's own parameters make. */
export function Start({ isOpen, module: first, close }: { isOpen: boolean; module: string | null; close: () => void }) {
  const modules = useModules();
  const client = useQueryClient();
  const [, go] = useLocation();
  const [name, setName] = useState(first);
  const [error, setError] = useState<unknown>(null);
  const [isBusy, setBusy] = useState(false);
  const names = (modules.data ?? []).map((each) => (each.tag === "latest" ? each.name : `${each.name}:${each.tag}`));
  const module = modules.data?.[names.indexOf(name ?? "")];

  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    const parameters: Record<string, string> = {};
    for (const key of Object.keys(module?.parameters ?? {})) if (given.get(key)) parameters[key] = String(given.get(key));
    setBusy(true);
    setError(null);
    post<{ job: string }>("/jobs", { module: name, parameters })
      .then(({ job }) => {
        void client.invalidateQueries({ queryKey: ["jobs"] });
        go(`/jobs/${job}`);
      }, setError)
      .finally(() => setBusy(false));
  };

  return (
    <Modal opened={isOpen} onClose={close} title="Start a job" size="md">
      <form onSubmit={submit}>
        <Stack>
          <Select label="Module" data={names} value={name} onChange={setName} searchable placeholder={modules.isPending ? "…" : "of the registry"}
            description={modules.data?.length === 0 ? "The registry has none; push one with: parcs module push" : undefined} />
          {module?.about && <Text size="sm">{module.about}</Text>}
          {Object.entries(module?.parameters ?? {}).map(([key, about]) =>
            about.type === "int" || about.type === "float" ? (
              <NumberInput key={`${name}.${key}`} name={key} label={key} description={about.help} required={about.default === null}
                defaultValue={about.default === null ? "" : Number(about.default)} allowDecimal={about.type === "float"} />
            ) : (
              <TextInput key={`${name}.${key}`} name={key} label={key} description={about.help} required={about.default === null} defaultValue={about.default ?? ""} />
            ))}
          <ProblemNote error={error ?? modules.error} />
          <Button type="submit" loading={isBusy} disabled={!module}>Start it</Button>
        </Stack>
      </form>
    </Modal>
  );
}
