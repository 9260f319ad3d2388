// A task as somebody types it, and the request it means.
import type { TaskRequest } from "../api/types";

export type Draft = {
  name: string; command: string; compile: string; compileTimeout: number | string; stdin: string; expected: string;
  files: { path: string; text: string }[]; archive: string;
  timeout: number | string; cpu: number | string; memory: number | string; processes: number | string;
  output: number | string; kept: number | string; network: string;
  environment: string; labels: string; where: string; priority: number | string; retries: number | string; after: string;
  outputs: string; isolation: string; image: string; array: string;
};

const MIB = 2 ** 20;

export const EMPTY: Draft = {
  name: "", command: "", compile: "", compileTimeout: 60, stdin: "", expected: "", files: [], archive: "",
  timeout: 3600, cpu: "", memory: "", processes: 512, output: 8, kept: 64, network: "", environment: "", labels: "", where: "",
  priority: 0, retries: 0, after: "", outputs: "", isolation: "", image: "", array: "",
};

export const TEMPLATES: Record<string, Partial<Draft>> = {
  "A command": { command: "echo hello" },
  "C++ program": {
    name: "C++", command: "./main", compile: "g++ -g -Wall -o main main.cpp", compileTimeout: 60, stdin: "Hello World!", timeout: 10,
    files: [{
      path: "main.cpp",
      text: '#include <iostream>\n\nint main() {\n    char line[256];\n    std::cin.getline(line, 256);\n'
        + '    std::cout << "From Khala: " << line << std::endl;\n}\n',
    }],
  },
  "Python script": {
    name: "Python", command: "python3 main.py", timeout: 60, stdin: "3 4\n",
    files: [{ path: "main.py", text: "a, b = map(int, input().split())\nprint(a * b)\n" }],
  },
  "Many at once": {
    name: "squares", command: "echo $((N * N))", array: "N=1\nN=2\nN=3\nN=4", timeout: 60,
  },
};

/** A part of a draft that makes no sense. */
export class Wrong extends Error {
  constructor(readonly field: string, message: string) {
    super(message);
  }
}

function pairs(text: string, field: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const line of text.split("\n").map((each) => each.trim()).filter(Boolean)) {
    const at = line.indexOf("=");
    if (at < 1) throw new Wrong(field, `"${line}" should look like NAME=VALUE`);
    found[line.slice(0, at).trim()] = line.slice(at + 1);
  }
  return found;
}

const words = (text: string) => text.split(/[\s,]+/).filter(Boolean);
const optional = (value: number | string) => (value === "" ? null : Number(value));
const mebibytes = (value: number | string, field: string) => {
  if (value === "" || Number(value) <= 0) throw new Wrong(field, "needs a number of MiB");
  return Math.round(Number(value) * MIB);
};

/** @throws Wrong */
export function requestOf(draft: Draft): TaskRequest {
  if (!draft.command.trim()) throw new Wrong("command", "What is to be run?");
  const after = words(draft.after).map((each) => {
    if (!/^\d+$/.test(each)) throw new Wrong("after", `"${each}" is no task's number`);
    return Number(each);
  });
  const paths = draft.files.map((file) => file.path.trim());
  if (paths.some((path) => !path)) throw new Wrong("files", "a file needs a name");
  if (new Set(paths).size < paths.length) throw new Wrong("files", "two files have the same name");
  const array = draft.array.split("\n").map((line) => line.trim()).filter(Boolean)
    .map((line) => pairs(line.split(/\s+(?=[A-Za-z_]\w*=)/).join("\n"), "array"));
  return {
    command: draft.command, name: draft.name.trim(), stdin: draft.stdin,
    compile: draft.compile.trim() ? { command: draft.compile, timeout_s: Number(draft.compileTimeout) || 60 } : null,
    timeout_s: optional(draft.timeout), expected: draft.expected === "" ? null : draft.expected,
    files: Object.fromEntries(draft.files.map((file) => [file.path.trim(), file.text])), archive: draft.archive || null,
    limits: {
      cpu_s: optional(draft.cpu), memory: draft.memory === "" ? null : mebibytes(draft.memory, "limits.memory"),
      processes: Number(draft.processes) || 512, output: mebibytes(draft.output, "limits.output"),
      files: mebibytes(draft.kept, "limits.files"), network: draft.network === "" ? null : draft.network === "yes",
    },
    environment: pairs(draft.environment, "environment"), labels: pairs(draft.labels, "labels"),
    where: pairs(draft.where, "where"), priority: Number(draft.priority) || 0, retries: Number(draft.retries) || 0,
    after, outputs: words(draft.outputs), isolation: draft.isolation || null, image: draft.image.trim() || null,
    array: array.length ? array : null,
  };
}

const lines = (found: Readonly<Record<string, string>> | undefined) =>
  Object.entries(found ?? {}).map(([name, value]) => `${name}=${value}`).join("\n");
/** A command as one would type it: what is not plain is quoted. */
const typed = (command: string | readonly string[]) => typeof command === "string" ? command
  : command.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(" ");

/** The draft that a task's request came from. */
export function draftOf(request: TaskRequest): Draft {
  const limits: Partial<NonNullable<TaskRequest["limits"]>> = request.limits ?? {};
  return {
    ...EMPTY, name: request.name ?? "", command: typed(request.command),
    compile: request.compile ? typed(request.compile.command) : "", compileTimeout: request.compile?.timeout_s ?? 60,
    stdin: request.stdin ?? "", expected: request.expected ?? "", archive: request.archive ?? "",
    files: Object.entries(request.files ?? {}).map(([path, text]) => ({ path, text })),
    timeout: request.timeout_s ?? "", cpu: limits.cpu_s ?? "", memory: limits.memory ? limits.memory / MIB : "",
    processes: limits.processes ?? 512, output: (limits.output ?? 8 * MIB) / MIB, kept: (limits.files ?? 64 * MIB) / MIB,
    network: limits.network === null || limits.network === undefined ? "" : limits.network ? "yes" : "no",
    environment: lines(request.environment), labels: lines(request.labels), where: lines(request.where),
    priority: request.priority ?? 0, retries: request.retries ?? 0, after: (request.after ?? []).join(" "),
    outputs: (request.outputs ?? []).join(" "), isolation: request.isolation ?? "", image: request.image ?? "",
    array: (request.array ?? []).map((each) => Object.entries(each).map(([name, value]) => `${name}=${value}`).join(" ")).join("\n"),
  };
}
