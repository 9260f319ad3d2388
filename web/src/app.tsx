import { Center, Loader, Stack, Title } from "@mantine/core";
import { Suspense, lazy, useEffect, useState } from "react";
import { Link, Route, Switch, useLocation } from "wouter";
import { useSession, useMe } from "./api/session";
import { Login } from "./login";
import { Overview } from "./pages/overview";
import { ProblemNote } from "./parts/problem";
import { Shell } from "./shell";

// The first page comes at once; the others when somebody goes there.
const Tasks = lazy(() => import("./pages/tasks"));
const TaskPage = lazy(() => import("./pages/task"));
const NewTask = lazy(() => import("./pages/new-task"));
const Executors = lazy(() => import("./pages/executors"));
const ClusterPage = lazy(() => import("./pages/cluster"));
const Jobs = lazy(() => import("./pages/jobs"));
const JobPage = lazy(() => import("./pages/job"));
const Study = lazy(() => import("./pages/study"));
const Modules = lazy(() => import("./pages/modules"));
const People = lazy(() => import("./pages/people"));
const Account = lazy(() => import("./pages/account"));

const waiting = <Center h={200}><Loader size="sm" /></Center>;

export function App() {
  const me = useMe();
  const link = useLink();
  if (link.isBusy || me.isPending) return waiting;
  if (me.data === null || me.data === undefined) {
    return me.isError ? <Center h="100vh" p="md"><ProblemNote error={me.error} /></Center> : <Login problem={link.problem} />;
  }
  return (
    <Shell me={me.data}>
      <Suspense fallback={waiting}>
        <Switch>
          <Route path="/" component={Overview} />
          <Route path="/tasks" component={Tasks} />
          <Route path="/tasks/new" component={NewTask} />
          <Route path="/tasks/:id">{({ id }) => <TaskPage key={id} id={Number(id)} />}</Route>
          <Route path="/executors" component={Executors} />
          <Route path="/jobs" component={Jobs} />
          <Route path="/study" component={Study} />
          <Route path="/jobs/:name">{({ name }) => <JobPage key={name} name={name} />}</Route>
          <Route path="/cluster" component={ClusterPage} />
          <Route path="/modules" component={Modules} />
          <Route path="/people" component={People} />
          <Route path="/account" component={Account} />
          <Route><Stack><Title order={2}>There is no such page.</Title><Link href="/">To the overview</Link></Stack></Route>
        </Switch>
      </Suspense>
    </Shell>
  );
}

/** A link of `parcs up` logs in once; its word stays in no history. */
function useLink() {
  const { enter } = useSession();
  const [, go] = useLocation();
  const [word] = useState(() => /^#\/login\/(.+)$/.exec(location.hash)?.[1]);
  const [isBusy, setBusy] = useState(word !== undefined);
  useEffect(() => {
    const look = () => { if (location.hash.startsWith("#/login/")) location.reload(); };
    addEventListener("hashchange", look);
    return () => removeEventListener("hashchange", look);
  }, []);
  const [problem, setProblem] = useState<unknown>(null);
  // biome-ignore lint: once, with the address that the page was opened at
  useEffect(() => {
    if (word === undefined) return;
    history.replaceState(null, "", location.pathname);
    enter({ link: word })
      .then(() => go("/"), setProblem)
      .finally(() => setBusy(false));
  }, []);
  return { isBusy, problem };
}
