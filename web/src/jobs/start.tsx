import { Button, Modal, Stack } from "@mantine/core";
import { type FormEvent, useState } from "react";
import { useLocation } from "wouter";
import { useChange } from "../api/change";
import { post } from "../api/http";
import { ProblemNote } from "../parts/problem";
import { Parameters, parametersOf, useModule } from "./parameters";

/** A form that a module's own parameters make. */
export function Start({ isOpen, module: first, close }: { isOpen: boolean; module: string | null; close: () => void }) {
  const change = useChange("jobs");
  const [, go] = useLocation();
  const [name, setName] = useState(first);
  const [error, setError] = useState<unknown>(null);
  const [isBusy, setBusy] = useState(false);
  const { module } = useModule(name);

  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const parameters = parametersOf(event.currentTarget, module);
    setBusy(true);
    setError(null);
    change(() => post<{ job: string }>("/jobs", { module: name, parameters }))
      .then(({ job }) => go(`/jobs/${job}`), setError)
      .finally(() => setBusy(false));
  };

  return (
    <Modal opened={isOpen} onClose={close} title="Start a job" size="md">
      <form onSubmit={submit}>
        <Stack>
          <Parameters name={name} setName={setName} />
          <ProblemNote error={error} />
          <Button type="submit" loading={isBusy} disabled={!module}>Start it</Button>
        </Stack>
      </form>
    </Modal>
  );
}
