// One way to ask the hub. What it refuses comes as a Problem, in its own words.
const API = "/api/v1";

export class Problem extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly field: string,
  ) {
    super(message);
  }
}

type Options = { method?: string; body?: unknown; raw?: Blob; signal?: AbortSignal; once?: string };

async function send(path: string, options: Options): Promise<Response> {
  const headers: Record<string, string> = { "X-PARCS": "1" };
  if (options.body !== undefined) headers["Content-Type"] = "application/json";
  if (options.raw) headers["Content-Type"] = "application/octet-stream";
  if (options.once) headers["Idempotency-Key"] = options.once;
  const body = options.raw ?? (options.body === undefined ? null : JSON.stringify(options.body));
  try {
    return await fetch(API + path, { method: options.method ?? "GET", headers, body, signal: options.signal ?? null });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Problem("The hub does not answer. It is asked again by itself.", 0, "");
  }
}

async function checked(path: string, options: Options): Promise<Response> {
  const answer = await send(path, options);
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw new Problem(said.detail ?? `The hub answered ${answer.status}.`, answer.status, said.field ?? "");
}

export async function ask<T>(path: string, options: Options = {}): Promise<T> {
  return (await checked(path, options)).json();
}

export async function text(path: string, signal?: AbortSignal): Promise<string> {
  return (await checked(path, signal ? { signal } : {})).text();
}

export const post = <T>(path: string, body?: unknown, once?: string) =>
  ask<T>(path, { method: "POST", ...(body === undefined ? {} : { body }), ...(once ? { once } : {}) });

/** Where a browser downloads something from; the session's cookie goes with it. */
export const address = (path: string) => API + path;
