import type { components } from "./schema";

type Schemas = components["schemas"];
export type Task = Schemas["Task"];
export type TaskDetail = Schemas["TaskDetail"];
export type TaskPage = Schemas["TaskPage"];
export type TaskRequest = Schemas["TaskRequest"];
export type Attempt = Schemas["Attempt"];
export type Executor = Schemas["Executor"];
export type HubSeen = Schemas["HubSeen"];
export type Sample = Schemas["Sample"];
export type History = Schemas["History"];
export type User = Schemas["User"];
export type Token = Schemas["Token"];
export type NewToken = Schemas["NewToken"];
export type AuditPage = Schemas["AuditPage"];
export type Submitted = Schemas["Submitted"];
export type Me = Schemas["Me"];
