// What a hub is doing, at a glance. It uses the public API only, and every text of others goes in as text, never as HTML.
"use strict";
const API = "/api/v1";
const at = (id) => document.getElementById(id);
const show = (id, is) => { at(id).hidden = !is; };

async function ask(path, method = "GET", body = undefined) {
  const answer = await fetch(API + path, {
    method, body: body && JSON.stringify(body), headers: { "X-PARCS": "1", "Content-Type": "application/json" },
  });
  const value = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(value.detail), { status: answer.status });
  return value;
}

function row(...cells) {
  const line = document.createElement("tr");
  for (const [text, kind] of cells.map((cell) => (Array.isArray(cell) ? cell : [cell]))) {
    const cell = line.insertCell();
    cell.textContent = text;
    if (kind) cell.className = kind;
  }
  return line;
}

function ago(seconds) {
  const passed = Math.max(0, Date.now() / 1000 - seconds);
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (passed >= size) return `${Math.round(passed / size)} ${unit} ago`;
  }
  return passed < 2 ? "now" : `${Math.round(passed)} s ago`;
}

async function draw() {
  const [counts, page, executors] = await Promise.all([ask("/tasks/counts"), ask("/tasks?limit=30"), ask("/executors")]);
  const some = Object.entries(counts).filter(([, count]) => count);
  at("counts").textContent = some.map(([state, count]) => `${count} ${state}`).join(", ");
  at("tasks").replaceChildren(...page.tasks.map((task) =>
    row(task.id, [task.state, task.state], task.name || task.command.slice(0, 60), task.user, ago(task.created), task.why)));
  show("none", !page.tasks.length);
  at("executors").replaceChildren(...executors.filter((each) => each.state !== "gone").map((each) =>
    row(each.name, each.state, `${each.busy}/${each.slots}`, each.levels.join(", "), `${Math.round(each.cpu_percent)} %`)));
}

let isDrawing = false, isStale = false;
async function refresh() {
  if (isDrawing) { isStale = true; return; }
  isDrawing = true;
  try { await draw(); show("problem", false); } catch (error) { complain(error); }
  setTimeout(() => { isDrawing = false; if (isStale) { isStale = false; refresh(); } }, 300);
}

function complain(error) {
  if (error.status === 401) { show("main", false); show("login", true); show("leave", false); return; }
  at("problem").textContent = error.message;
  show("problem", true);
}

async function begin() {
  const link = location.hash.match(/^#\/login\/(.+)$/);
  try {
    if (link) {
      history.replaceState(null, "", "/"); // the word is good once; it need not stay in the history
      await ask("/login", "POST", { link: link[1] });
    }
    const me = await ask("/me");
    at("who").textContent = `${me.name}, ${me.role}`;
    show("login", false); show("main", true); show("leave", true);
    const news = new EventSource(API + "/events");
    for (const kind of ["task", "executor"]) news.addEventListener(kind, refresh);
    setInterval(refresh, 5000);
    refresh();
  } catch (error) {
    if (link && error.status === 401) { at("problem").textContent = error.message; show("problem", true); }
    complain(error);
  }
}

at("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const given = new FormData(event.target);
  try {
    await ask("/login", "POST", { name: given.get("name"), password: given.get("password") });
    show("problem", false);
    begin();
  } catch (error) { at("problem").textContent = error.message; show("problem", true); }
});
at("leave").addEventListener("click", async () => { await ask("/logout", "POST"); location.reload(); });
begin();
