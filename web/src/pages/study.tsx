import { Button, Group, NumberInput, Paper, Select, Stack, Text, TextInput, Title } from "@mantine/core";
import { type FormEvent, useEffect, useRef, useState } from "react";
import { ask, post } from "../api/http";
import type { JobDetail } from "../api/types";
import { Parameters, parametersOf, useModule } from "../jobs/parameters";
import { type Run, Scaling, ScalingTable, rowsOf } from "../jobs/scaling";
import { ProblemNote } from "../parts/problem";

const LOOK_MS = 500;

/** One module at several numbers of points, run by this page one after another. */
export default function Study() {
  const [name, setName] = useState<string | null>(null);
  const [chosen, setChosen] = useState<string | null>(null);
  const [runs, setRuns] = useState<Run[]>([]);
  const [doing, setDoing] = useState("");
  const [error, setError] = useState<unknown>(null);
  const isWanted = useRef(false);
  useEffect(() => () => { isWanted.current = false; }, []);
  const { module } = useModule(name);
  const whole = Object.entries(module?.parameters ?? {}).filter(([, about]) => about.type === "int").map(([key]) => key);
  const key = chosen && whole.includes(chosen) ? chosen : whole.includes("P") ? "P" : whole[0] ?? null;

  const study = async (form: HTMLFormElement) => {
    const parameters = parametersOf(form, module);
    const given = new FormData(form);
    const counts = String(given.get("counts")).split(/[\s,;]+/).filter(Boolean).map(Number);
    if (!key || !counts.length || !counts.every((each) => Number.isInteger(each) && each > 0)) throw new Error("Numbers of points are whole numbers, such as: 1, 2, 4");
    const repeats = Number(given.get("repeats")) || 1;
    const all = counts.flatMap((points) => Array<number>(repeats).fill(points));
    setRuns([]);
    isWanted.current = true;
    for (const [i, points] of all.entries()) {
      setDoing(`Run ${i + 1} of ${all.length}: ${points === 1 ? "1 point" : `${points} points`} …`);
      const { job } = await post<{ job: string }>("/jobs", { module: name, parameters: { ...parameters, [key]: String(points) } });
      const detail = await end(job, isWanted);
      if (!isWanted.current) return;
      if (detail.job.why || !detail.figures) throw new Error(`${job}: ${detail.job.why || "it has told no figures"}`);
      const figures = detail.figures;
      setRuns((before) => [...before, { points, job, figures }]);
    }
  };

  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    setError(null);
    study(event.currentTarget).catch(setError).finally(() => { isWanted.current = false; setDoing(""); });
  };

  const rows = rowsOf(runs);
  return (
    <Stack>
      <Title order={2}>Scaling study</Title>
      <Text size="sm">The same program at several numbers of points: how much faster it becomes. This page starts the jobs one after another: leave it open.</Text>
      <Paper withBorder p="md" maw={560}>
        <form onSubmit={submit}>
          <Stack>
            <Parameters name={name} setName={setName} without={key ?? ""} />
            {module && (whole.length ? (
              <Group grow align="flex-start">
                <Select label="Points are" description="the parameter" data={whole} value={key} onChange={setChosen} allowDeselect={false} />
                <TextInput name="counts" label="Numbers of points" description="one after another" defaultValue="1, 2, 4" />
                <NumberInput name="repeats" label="Runs of each" description="the middle one counts" defaultValue={1} min={1} max={9} />
              </Group>
            ) : <Text size="sm" c="red">This module has no parameter that is a whole number.</Text>)}
            <ProblemNote error={error} />
            <Group>
              <Button type="submit" loading={doing !== ""} disabled={!key}>Start the study</Button>
              {doing && <Button variant="default" onClick={() => { isWanted.current = false; }}>Stop</Button>}
              <Text size="sm" role="status">{doing}</Text>
            </Group>
          </Stack>
        </form>
      </Paper>
      {rows.length > 0 && <><Scaling rows={rows} /><ScalingTable rows={rows} /></>}
    </Stack>
  );
}

/** Waits until a job is over; one that is no longer wanted is stopped. */
async function end(job: string, isWanted: { current: boolean }): Promise<JobDetail> {
  for (;;) {
    const detail = await ask<JobDetail>(`/jobs/${job}`);
    if (detail.job.ended_at !== null) return detail;
    if (!isWanted.current) {
      await post(`/jobs/${job}/stop`);
      return detail;
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}
