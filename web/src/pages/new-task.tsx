import {
  Accordion, Button, FileButton, Group, NumberInput, Paper, Select, SimpleGrid, Skeleton, Stack, Text, TextInput, Textarea, Title,
} from "@mantine/core";
import { type DragEvent, type FormEvent, Suspense, lazy, useEffect, useRef, useState } from "react";
import { useLocation, useSearch } from "wouter";
import { Problem, ask, post } from "../api/http";
import { useMe, useRights } from "../api/session";
import type { ArchiveFiles, Submitted, TaskDetail } from "../api/types";
import { type Draft, EMPTY, TEMPLATES, Wrong, draftOf, requestOf } from "../parts/draft";
import { bytes, many } from "../parts/format";
import { ProblemNote } from "../parts/problem";

const Editor = lazy(() => import("../parts/editor"));
const ARCHIVE = /\.(zip|tar|tgz|tar\.gz|tar\.bz2|tar\.xz)$/i;
const LARGEST_TEXT = 1 << 20;

export default function NewTask() {
  const from = new URLSearchParams(useSearch()).get("from");
  const [, go] = useLocation();
  const me = useMe().data;
  const { maySubmit } = useRights();
  const [draft, setDraft] = useState<Draft>({ ...EMPTY, ...TEMPLATES["A command"] });
  const [error, setError] = useState<{ field: string; text: string } | null>(null);
  const [isBusy, setBusy] = useState(false);
  const [more, setMore] = useState<string[]>([]);
  // The same key for the same form sent twice, so an answer that was lost makes no second task.
  const once = useRef("");

  useEffect(() => {
    if (!from) return;
    opened(from).then((found) => {
      setDraft(found);
      setMore(panelsOf(found));
    }, (caught: Error) => setError({ field: "", text: caught.message }));
  }, [from]);

  const set = (change: Partial<Draft>) => {
    setDraft((before) => ({ ...before, ...change }));
    setError(null);
    once.current = "";
  };
  const open = (found: Draft) => {
    set(found);
    setMore(panelsOf(found));
  };
  const show = (caught: unknown) => {
    const field = caught instanceof Wrong || caught instanceof Problem ? caught.field : "";
    setError({ field, text: caught instanceof Error ? caught.message : String(caught) });
    const panel = PANEL_OF[field.split(".")[0] ?? ""];
    if (panel) setMore((open) => [...new Set([...open, panel])]);
  };
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      once.current ||= crypto.randomUUID?.() ?? String(Math.random());
      const made = await post<Submitted>("/tasks", requestOf(draft), once.current);
      go(made.count > 1 ? `/tasks?array=${made.first}` : `/tasks/${made.first}`);
    } catch (caught) {
      show(caught);
    } finally {
      setBusy(false);
    }
  };

  const text = (name: keyof Draft, field: string = name) => ({
    value: String(draft[name]),
    onChange: (event: { currentTarget: { value: string } }) => set({ [name]: event.currentTarget.value }),
    error: error?.field === field ? error.text : null,
  });
  const number = (name: keyof Draft, field: string) => ({
    value: draft[name] as number | string,
    onChange: (value: number | string) => set({ [name]: value }),
    error: error?.field === field ? error.text : null,
  });
  const isShown = error !== null && SHOWN.has(error.field);
  if (me && !maySubmit) return <Text>You are a viewer here: you see everything, and start nothing. An admin can make you a member.</Text>;

  return (
    <form onSubmit={submit} noValidate>
      <Stack maw={1100}>
        <Group justify="space-between">
          <Title order={2}>New task</Title>
          <Select aria-label="Template" placeholder="Begin with …" data={Object.keys(TEMPLATES)} w={180} value={null}
            onChange={(name) => name && open({ ...EMPTY, ...TEMPLATES[name] })} />
        </Group>
        <SimpleGrid cols={{ base: 1, sm: 2 }}>
          <TextInput label="Command" description="A line for the shell" required classNames={{ input: "mono" }} {...text("command")} data-autofocus />
          <TextInput label="Name" description="To find it again" {...text("name")} />
        </SimpleGrid>
        <Files draft={draft} set={set} show={show} error={error?.field.startsWith("files") || error?.field === "archive" ? error.text : ""} />
        <SimpleGrid cols={{ base: 1, sm: 2 }}>
          <TextInput label="Compile first" description="If it fails, the command is not run" classNames={{ input: "mono" }} {...text("compile")} />
          <NumberInput label="Compile for at most, seconds" description={"\u00a0"} min={0} {...number("compileTimeout", "compile.timeout_s")} />
          <Textarea label="Standard input" autosize minRows={2} maxRows={12} classNames={{ input: "mono" }} {...text("stdin")} />
          <Textarea label="Expected output" description="" autosize minRows={2} maxRows={12} classNames={{ input: "mono" }}
            placeholder="Nothing: it is not compared" {...text("expected")} />
        </SimpleGrid>
        <Accordion multiple variant="contained" value={more} onChange={setMore}>
          <Accordion.Item value="limits">
            <Accordion.Control>Limits</Accordion.Control>
            <Accordion.Panel>
              <SimpleGrid cols={{ base: 1, xs: 2, md: 4 }}>
                <NumberInput label="Time, seconds" min={0} placeholder="no limit" {...number("timeout", "timeout_s")} />
                <NumberInput label="CPU time, seconds" min={0} placeholder="no limit" {...number("cpu", "limits.cpu_s")} />
                <NumberInput label="Memory, MiB" min={1} placeholder="no limit" {...number("memory", "limits.memory")} />
                <NumberInput label="Processes" min={1} {...number("processes", "limits.processes")} />
                <NumberInput label="Output, MiB" min={0} {...number("output", "limits.output")} />
                <NumberInput label="Kept files, MiB" min={0} {...number("kept", "limits.files")} />
                <Select label="Network" data={[{ value: "", label: "as the isolation says" }, { value: "yes", label: "must have" }, { value: "no", label: "must not have" }]}
                  value={draft.network} onChange={(value) => set({ network: value ?? "" })} allowDeselect={false} />
              </SimpleGrid>
            </Accordion.Panel>
          </Accordion.Item>
          <Accordion.Item value="where">
            <Accordion.Control>Where it runs, and when</Accordion.Control>
            <Accordion.Panel>
              <SimpleGrid cols={{ base: 1, xs: 2, md: 4 }}>
                <Select label="Isolation" value={draft.isolation} onChange={(value) => set({ isolation: value ?? "" })} allowDeselect={false}
                  data={[{ value: "", label: "any" }, "process", "bubblewrap", "docker"]}
                  error={error?.field === "isolation" ? error.text : null} />
                <TextInput label="Image" placeholder="for docker" {...text("image")} />
                <NumberInput label="Priority" {...number("priority", "priority")} />
                <NumberInput label="Retries" min={0} {...number("retries", "retries")} />
                <TextInput label="After tasks" placeholder="17 18" {...text("after")} />
                <Textarea label="Executor's labels" placeholder="NAME=VALUE" autosize {...text("where")} />
              </SimpleGrid>
            </Accordion.Panel>
          </Accordion.Item>
          <Accordion.Item value="more">
            <Accordion.Control>Environment, labels, kept files, many at once</Accordion.Control>
            <Accordion.Panel>
              <SimpleGrid cols={{ base: 1, sm: 2 }}>
                <Textarea label="Environment" placeholder="NAME=VALUE" autosize minRows={2} {...text("environment")} />
                <Textarea label="Labels" placeholder="NAME=VALUE" autosize minRows={2} {...text("labels")} />
                <TextInput label="Files to keep" placeholder="*.png results/*.csv" {...text("outputs")} />
                <Textarea label="Many at once" description="One task for each line: NAME=VALUE, in its environment and for {NAME}" autosize minRows={2} {...text("array")} />
              </SimpleGrid>
            </Accordion.Panel>
          </Accordion.Item>
        </Accordion>
        {error && !isShown && <ProblemNote error={error.field ? `${error.field}: ${error.text}` : error.text} />}
        <Group>
          <Button type="submit" loading={isBusy}>Run it</Button>
          {draft.array.trim() !== "" && <Text size="sm">{many(draft.array.trim().split("\n").length, "task")}</Text>}
        </Group>
      </Stack>
    </form>
  );
}

/** The draft of an earlier task; what it was sent as texts comes back as texts, to be changed. */
async function opened(id: string): Promise<Draft> {
  const draft = draftOf((await ask<TaskDetail>(`/tasks/${id}`)).request);
  if (!draft.archive) return draft;
  const { texts, others } = await ask<ArchiveFiles>(`/archives/${draft.archive}/files`);
  return others.length ? draft : { ...draft, archive: "", files: Object.entries(texts).map(([path, text]) => ({ path, text })) };
}

const PANEL_OF: Record<string, string> = {
  limits: "limits", timeout_s: "limits", isolation: "where", image: "where", priority: "where", retries: "where", after: "where",
  where: "where", environment: "more", labels: "more", outputs: "more", array: "more",
};
/** What is in each part that can be closed: one that holds something is open. */
const INSIDE: Record<string, (keyof Draft)[]> = {
  limits: ["timeout", "cpu", "memory", "processes", "output", "kept", "network"],
  where: ["isolation", "image", "priority", "retries", "after", "where"],
  more: ["environment", "labels", "outputs", "array"],
};
const panelsOf = (draft: Draft) =>
  Object.entries(INSIDE).filter(([, names]) => names.some((name) => draft[name] !== EMPTY[name])).map(([panel]) => panel);
/** Fields that show their errors themselves. */
const SHOWN = new Set([
  "command", "name", "compile", "compile.timeout_s", "stdin", "expected", "files", "archive", "timeout_s", "limits.cpu_s",
  "limits.memory", "limits.processes", "limits.output", "limits.files", "isolation", "image", "priority", "retries", "after",
  "where", "environment", "labels", "outputs", "array",
]);

type FilesProps = { draft: Draft; set: (change: Partial<Draft>) => void; show: (caught: unknown) => void; error: string };

function Files({ draft, set, show, error }: FilesProps) {
  const [at, setAt] = useState(0);
  const [isOver, setOver] = useState(false);
  const [said, setSaid] = useState("");
  const shown = draft.files[Math.min(at, draft.files.length - 1)];

  const change = (path: string, text: string) =>
    set({ files: draft.files.map((file) => (file === shown ? { path, text } : file)) });

  const take = async (given: File[]) => {
    try {
      const texts = [];
      for (const file of given) {
        if (ARCHIVE.test(file.name)) {
          setSaid(`uploading ${file.name} …`);
          const made = await ask<{ digest: string; files: number; size: number }>("/archives", { method: "POST", raw: file });
          set({ archive: made.digest });
          setSaid(`${file.name}: ${many(made.files, "file")}, ${bytes(made.size)}`);
        } else if (file.size > LARGEST_TEXT) {
          throw new Wrong("files", `${file.name} has ${bytes(file.size)}; put what is large into a zip archive`);
        } else {
          texts.push({ path: file.name, text: await file.text() });
        }
      }
      if (texts.length) {
        const names = new Set(texts.map((each) => each.path));
        set({ files: [...draft.files.filter((each) => !names.has(each.path)), ...texts] });
      }
    } catch (caught) {
      setSaid("");
      show(caught);
    }
  };
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    void take([...event.dataTransfer.files]);
  };

  return (
    <Paper withBorder p="sm" className={isOver ? "drop" : ""} onDrop={drop} onDragLeave={() => setOver(false)}
      onDragOver={(event) => { event.preventDefault(); setOver(true); }}>
      <Group gap="xs" mb={draft.files.length ? "xs" : 0}>
        <Text size="sm" fw={500}>Files</Text>
        {draft.files.map((file, i) => (
          <Button key={i} size="compact-sm" variant={file === shown ? "light" : "subtle"} onClick={() => setAt(i)}>
            {file.path || "unnamed"}
          </Button>
        ))}
        <Button size="compact-sm" variant="default"
          onClick={() => { set({ files: [...draft.files, { path: "", text: "" }] }); setAt(draft.files.length); }}>
          Add a file
        </Button>
        <FileButton onChange={(files) => void take(files)} multiple>
          {(props) => <Button size="compact-sm" variant="default" {...props}>Upload</Button>}
        </FileButton>
        <Text size="xs" c="dimmed">{said || (draft.archive ? `and an archive (${draft.archive.slice(0, 8)})` : "or drop texts and archives here")}</Text>
        {draft.archive && <Button size="compact-xs" variant="subtle" onClick={() => { set({ archive: "" }); setSaid(""); }}>Leave the archive out</Button>}
      </Group>
      {shown && (
        <Stack gap="xs">
          <Group gap="xs">
            <TextInput aria-label="The file's name" size="xs" placeholder="main.cpp" value={shown.path} w={220}
              onChange={(event) => change(event.currentTarget.value, shown.text)} />
            <Button size="compact-xs" variant="subtle" color="red" onClick={() => set({ files: draft.files.filter((file) => file !== shown) })}>
              Remove
            </Button>
          </Group>
          <Suspense fallback={<Skeleton h={190} />}>
            <Editor key={at} path={shown.path} text={shown.text} change={(text) => change(shown.path, text)} />
          </Suspense>
        </Stack>
      )}
      <ProblemNote error={error} mt="xs" />
    </Paper>
  );
}
