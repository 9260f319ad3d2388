// What somebody should look at, in words, with the page that shows it.
import type { Executor, HubSeen, Sample, Task } from "../api/types";
import { ago, count, many } from "./format";
import { FAILED } from "./state";

type Known = { last: Sample; executors: Executor[]; hubs: HubSeen[]; oldest: Task | undefined; now: number };
export type Note = { text: string; link: string; to: string };

const WAITED_S = 30;
const HUB_AWAY_S = 15;
const ALMOST_FULL = 0.95;

export function attention({ last, executors, hubs, oldest, now }: Known): Note[] {
  const notes: Note[] = [];
  const waiting = last.counts.queued ?? 0;
  const live = executors.filter((each) => each.state !== "gone");
  if (live.length === 0) {
    const tasks = waiting ? `${many(waiting, "task")} wait${waiting === 1 ? "s" : ""}: ` : "";
    notes.push({ text: `${tasks}no executor is connected.`, link: "Add one", to: "/executors" });
  } else if (oldest && now - oldest.created > WAITED_S && last.busy < last.slots) {
    notes.push({
      text: `Task ${oldest.id} waits since ${ago(oldest.created, now)}, though slots are free.`,
      link: "See why", to: `/tasks/${oldest.id}`,
    });
  }
  if (last.failed_per_s > 0 && last.failed_per_s >= last.succeeded_per_s) {
    notes.push({
      text: "More tasks fail than succeed at the moment.", link: "See them",
      to: FAILED,
    });
  }
  const held = live.filter((each) => each.state !== "active");
  if (held.length) {
    notes.push({
      text: `${many(held.length, "executor")} take${held.length === 1 ? "s" : ""} nothing new (${held[0]?.name}: ${held[0]?.state}).`,
      link: "See executors", to: "/executors",
    });
  }
  const full = live.filter((each) => each.memory && each.memory_used / each.memory > ALMOST_FULL);
  if (full.length) {
    notes.push({ text: `${full[0]?.name} has almost no memory left.`, link: "See executors", to: "/executors" });
  }
  for (const hub of hubs.filter((each) => now - each.last_seen > HUB_AWAY_S)) {
    notes.push({ text: `The hub ${hub.address} was last seen ${ago(hub.last_seen, now)}.`, link: "See hubs", to: "/executors#hubs" });
  }
  return notes.length > 8 ? [...notes.slice(0, 7), { text: `And ${count(notes.length - 7)} more.`, link: "", to: "/" }] : notes;
}
