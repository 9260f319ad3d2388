import { Paper, Stack, Text } from "@mantine/core";
import type { ReactNode } from "react";

/** Nothing is there: what to do about it. */
export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <Paper withBorder p="xl" ta="center">
      <Stack gap="xs" align="center">
        <Text fw={600}>{title}</Text>
        {children}
      </Stack>
    </Paper>
  );
}
