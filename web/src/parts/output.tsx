import { Anchor, Group, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { diffLines } from "diff";
import { useEffect, useRef, useState } from "react";
import { address, text } from "../api/http";
import { whileSeen } from "../api/live";
import { bytes } from "./format";
import { Pre } from "./pre";
import { ProblemNote } from "./problem";

const SHOWN = 256 << 10;

type Props = { task: number; attempt: number; stream: string; size: number; title: string };

/** What an attempt that is over wrote to a stream: its beginning, and the rest to download. */
export function Output({ task, attempt, stream, size, title }: Props) {
  const path = `/tasks/${task}/output/${stream}?attempt=${attempt}`;
  const found = useQuery({
    queryKey: ["output", task, attempt, stream, size],
    queryFn: ({ signal }) => text(`${path}&limit=${SHOWN}`, signal),
    staleTime: Number.POSITIVE_INFINITY,
  });
  return (
    <section>
      <Group justify="space-between" mb={4}>
        <Text size="sm" fw={600}>{title}</Text>
        <Text size="xs" c="dimmed">
          {size > SHOWN && `the first ${bytes(SHOWN)} of `}{bytes(size)} <Anchor href={address(path)} download={`task-${task}-${stream}.txt`}>download</Anchor>
        </Text>
      </Group>
      <ProblemNote error={found.error} />
      <Pre label={title}>{found.data ?? ""}</Pre>
    </section>
  );
}

export type Live = { state: string; attempt: number; streams: Record<string, string>; isOver: boolean };

/** A task's output as it is written. */
export function useLive(task: number, isOpen: boolean): Live | null {
  const [live, setLive] = useState<Live | null>(null);
  useEffect(() => {
    if (!isOpen) return;
    let source: EventSource | undefined;
    let again: ReturnType<typeof setTimeout>;
    let isEnded = false;
    const connect = () => {
      if (isEnded) return;
      let state: Live = { state: "", attempt: 0, streams: {}, isOver: false };
      source = new EventSource(address(`/tasks/${task}/follow`));
      source.addEventListener("state", (event) => {
        const said = JSON.parse(event.data);
        state = { ...state, ...(said.attempt === state.attempt ? {} : { streams: {} }), state: said.state, attempt: said.attempt };
        setLive(state);
      });
      source.addEventListener("output", (event) => {
        const said = JSON.parse(event.data);
        const before = state.streams[said.stream] ?? "";
        state = { ...state, streams: { ...state.streams, [said.stream]: (before + said.text).slice(-SHOWN) } };
        setLive(state);
      });
      source.addEventListener("end", () => {
        isEnded = true;
        setLive({ ...state, isOver: true });
        source?.close();
      });
      source.onerror = () => {
        source?.close();
        if (!isEnded) again = setTimeout(connect, 1000); // from the beginning: no piece is missing or doubled
      };
    };
    const leave = whileSeen(() => {
      connect();
      return () => {
        clearTimeout(again);
        source?.close();
      };
    });
    return () => {
      isEnded = true;
      leave();
    };
  }, [task, isOpen]);
  return live;
}

/** Text that grows; it stays at its end while the reader is there. */
export function Growing({ title, content }: { title: string; content: string }) {
  const box = useRef<HTMLPreElement>(null);
  const isAtEnd = useRef(true);
  // biome-ignore lint: after each piece
  useEffect(() => {
    if (box.current && isAtEnd.current) box.current.scrollTop = box.current.scrollHeight;
  }, [content]);
  const look = () => {
    const { scrollTop, scrollHeight, clientHeight } = box.current as HTMLPreElement;
    isAtEnd.current = scrollHeight - scrollTop - clientHeight < 24;
  };
  return (
    <section>
      <Text size="sm" fw={600} mb={4}>{title}</Text>
      <Pre label={title} place={box} onScroll={look}>{content}</Pre>
    </section>
  );
}

/** Where the output differs from what was expected. */
export function Diff({ task, attempt, expected }: { task: number; attempt: number; expected: string }) {
  const found = useQuery({
    queryKey: ["output", task, attempt, "stdout", "diff"],
    queryFn: ({ signal }) => text(`/tasks/${task}/output/stdout?attempt=${attempt}&limit=${SHOWN}`, signal),
    staleTime: Number.POSITIVE_INFINITY,
  });
  if (found.data === undefined) return <ProblemNote error={found.error} />;
  return (
    <section>
      <Text size="sm" fw={600} mb={4}>Expected and written</Text>
      <Pre label="Expected and written">
        {diffLines(expected, found.data).flatMap((part, i) =>
          part.value.replace(/\n$/, "").split("\n").map((line, j) => (
            <div key={`${i}.${j}`} className={part.added ? "added" : part.removed ? "removed" : ""}>
              {part.added ? "+ " : part.removed ? "- " : "  "}{line}
            </div>
          )))}
      </Pre>
      <Text size="xs" c="dimmed" mt={4}>- expected, + written</Text>
    </section>
  );
}
