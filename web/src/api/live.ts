// The hub's events: what has changed is asked for again, and no page asks without a reason.
import type { QueryClient } from "@tanstack/react-query";
import type { History, Sample } from "./types";

const KEPT = 450;
const CALM_MS = 1000;
/** Who somebody is, and what a hub has, do not change while a connection is made. */
const STEADY = new Set(["me", "about"]);
const SILENT_MS = 15_000;

export type Link = "connecting" | "live" | "lost";

/** Runs at once, and then at most once in CALM_MS, the last time included. */
function calmly(work: () => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isWanted = false;
  const run = () => {
    if (timer !== undefined) {
      isWanted = true;
      return;
    }
    work();
    timer = setTimeout(() => {
      timer = undefined;
      if (isWanted) {
        isWanted = false;
        run();
      }
    }, CALM_MS);
  };
  return run;
}

/** Does something while this page is seen, and takes it back while it is not: a browser has six connections to a hub for all its tabs. */
export function whileSeen(begin: () => () => void): () => void {
  let end: (() => void) | undefined;
  const look = () => {
    if (document.visibilityState === "visible") end ??= begin();
    else {
      end?.();
      end = undefined;
    }
  };
  document.addEventListener("visibilitychange", look);
  look();
  return () => {
    document.removeEventListener("visibilitychange", look);
    end?.();
  };
}

/** Follow the hub until the function that is given back is called. */
export function follow(client: QueryClient, tell: (link: Link) => void): () => void {
  let source: EventSource | undefined;
  let again: ReturnType<typeof setTimeout> | undefined;
  let wait = 500;
  let heard = Date.now();
  let isEnded = false;
  const changed = new Set<number>();
  let isUnnamed = false;

  const refresh = calmly(() => {
    void client.invalidateQueries({ queryKey: ["tasks"] });
    if (isUnnamed) void client.invalidateQueries({ queryKey: ["task"] });
    else for (const id of changed) void client.invalidateQueries({ queryKey: ["task", id] });
    changed.clear();
    isUnnamed = false;
  });
  const refreshExecutors = calmly(() => void client.invalidateQueries({ queryKey: ["executors"] }));

  const refreshAll = () =>
    void client.invalidateQueries({ predicate: (query) => !STEADY.has(String(query.queryKey[0])) });

  const lose = () => {
    source?.close();
    source = undefined;
    if (isEnded || again !== undefined) return;
    tell("lost");
    void client.invalidateQueries({ queryKey: ["me"] }); // it may be us who are no longer known
    again = setTimeout(() => {
      again = undefined;
      connect();
    }, wait);
    wait = Math.min(wait * 1.6, 5000);
  };

  const connect = () => {
    heard = Date.now();
    source = new EventSource("/api/v1/live");
    source.onopen = () => {
      heard = Date.now();
      wait = 500;
      tell("live");
      refreshAll(); // whatever happened meanwhile
    };
    source.onerror = lose;
    source.addEventListener("changes", (event) => {
      heard = Date.now();
      const news = JSON.parse(event.data) as { tasks: number[]; executors: string[]; unnamed: number };
      for (const id of news.tasks) changed.add(id);
      isUnnamed ||= news.unnamed > 0;
      if (news.tasks.length || news.unnamed) refresh();
      if (news.executors.length || news.unnamed) refreshExecutors();
    });
    source.addEventListener("sample", (event) => {
      heard = Date.now();
      const sample = JSON.parse(event.data) as Sample;
      client.setQueryData<History>(["history"], (before) =>
        before && { ...before, samples: [...before.samples.slice(1 - KEPT), sample] });
    });
    source.addEventListener("missed", refreshAll);
  };

  // A connection that is cut without a word says nothing; samples come every two seconds.
  const watch = setInterval(() => {
    if (source && Date.now() - heard > SILENT_MS) lose();
  }, 1000);
  tell("connecting");
  const leave = whileSeen(() => {
    connect();
    return () => {
      clearTimeout(again);
      again = undefined;
      source?.close();
      source = undefined;
    };
  });
  return () => {
    isEnded = true;
    clearInterval(watch);
    leave();
  };
}
