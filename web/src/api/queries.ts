import { keepPreviousData, useQuery, useQueryClient } from "@tanstack/react-query";
import { ask, text } from "./http";
import type { About, ArchiveFiles, AuditPage, Cluster, Executor, Flow, History, HubSeen, Job, JobDetail, Line, Load, ModuleImage, TaskDetail, TaskPage, Token, User } from "./types";

export const useHistory = () =>
  useQuery({ queryKey: ["history"], queryFn: () => ask<History>("/history"), staleTime: Infinity });

export const useExecutors = () =>
  useQuery({ queryKey: ["executors"], queryFn: () => ask<Executor[]>("/executors"), refetchInterval: 10_000 });

/** By the executor's id. */
export const useLoads = () =>
  useQuery({ queryKey: ["loads"], queryFn: () => ask<Record<string, Load>>("/executors/loads"), refetchInterval: 10_000 });

export const useHubs = () =>
  useQuery({ queryKey: ["hubs"], queryFn: () => ask<HubSeen[]>("/hubs"), refetchInterval: 10_000 });

export const useTasks = (search: string) =>
  useQuery({
    queryKey: ["tasks", "page", search],
    queryFn: ({ signal }) => ask<TaskPage>(`/tasks?${search}`, { signal }),
    placeholderData: keepPreviousData,
  });

export const useCounts = (search: string) =>
  useQuery({
    queryKey: ["tasks", "counts", search],
    queryFn: ({ signal }) => ask<Record<string, number>>(`/tasks/counts?${search}`, { signal }),
    placeholderData: keepPreviousData,
  });

export const useTask = (id: number) =>
  useQuery({ queryKey: ["task", id], queryFn: () => ask<TaskDetail>(`/tasks/${id}`) });

export const useExplained = (id: number, isOpen: boolean) =>
  useQuery({
    queryKey: ["task", id, "explain"],
    queryFn: () => ask<{ state: string; why: string }>(`/tasks/${id}/explain`),
    enabled: isOpen,
    refetchInterval: 5000,
  });

/** The texts in an archive. */
export const useArchive = (digest: string | null | undefined) =>
  useQuery({ queryKey: ["archive", digest], queryFn: () => ask<ArchiveFiles>(`/archives/${digest}/files`), enabled: Boolean(digest), staleTime: Infinity });

export const useUsers = () => useQuery({ queryKey: ["users"], queryFn: () => ask<User[]>("/users") });
export const useTokens = () => useQuery({ queryKey: ["tokens"], queryFn: () => ask<Token[]>("/tokens") });
export const useAudit = (cursor: string) =>
  useQuery({
    queryKey: ["audit", cursor],
    queryFn: () => ask<AuditPage>(`/audit?limit=50${cursor && `&cursor=${cursor}`}`),
    placeholderData: keepPreviousData,
  });

export const useAbout = () => useQuery({ queryKey: ["about"], queryFn: () => ask<About>("/about"), staleTime: 60_000 });

/** The Swarm tells nothing by itself: while somebody looks, it is asked each second, once for all pages of a hub. */
export const useCluster = () =>
  useQuery({ queryKey: ["cluster"], queryFn: () => ask<Cluster>("/cluster"), refetchInterval: 1000, staleTime: 0 });

export const useLogs = (service: string) =>
  useQuery({ queryKey: ["logs", service], queryFn: ({ signal }) => text(`/cluster/services/${service}/logs`, signal), refetchInterval: 5000 });

export const useModules = () => useQuery({ queryKey: ["modules"], queryFn: () => ask<ModuleImage[]>("/modules") });

export const useJobs = () => useQuery({ queryKey: ["jobs"], queryFn: () => ask<Job[]>("/jobs"), refetchInterval: 2000, staleTime: 0 });

export const useJob = (name: string) =>
  useQuery({
    queryKey: ["job", name],
    queryFn: () => ask<JobDetail>(`/jobs/${name}`),
    refetchInterval: (query) => (query.state.data?.job.ended_at ? false : 1000),
    staleTime: 0,
  });

/** Asked for while somebody looks at them. */
export const useChannels = (name: string, isOver: boolean) =>
  useQuery({
    queryKey: ["channels", name],
    queryFn: () => ask<Flow[]>(`/jobs/${name}/channels`),
    refetchInterval: isOver ? false : 1000,
    staleTime: 0,
  });

/** Lines come in pieces: each asks for what follows the last. */
export const useLines = (name: string, isOver: boolean) => {
  const client = useQueryClient();
  return useQuery({
    queryKey: ["lines", name],
    queryFn: async ({ signal }) => {
      const before = client.getQueryData<Line[]>(["lines", name]) ?? [];
      const found = await ask<Line[]>(`/jobs/${name}/lines?after=${before.at(-1)?.number ?? 0}`, { signal });
      return found.length ? [...before, ...found].slice(-5000) : before;
    },
    refetchInterval: isOver ? 5000 : 1000,
    staleTime: 0,
  });
};
