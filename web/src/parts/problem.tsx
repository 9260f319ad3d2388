import { Alert } from "@mantine/core";

/** An error, where it happened. */
export function ProblemNote({ error, mt }: { error: unknown; mt?: string }) {
  if (!error) return null;
  return (
    <Alert color="red" variant="light" role="alert" mt={mt ?? 0} p="xs">
      {error instanceof Error ? error.message : String(error)}
    </Alert>
  );
}
