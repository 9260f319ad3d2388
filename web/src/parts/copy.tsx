import { Button, Code, CopyButton, Group } from "@mantine/core";

/** A line to copy. */
export function Copy({ text }: { text: string }) {
  return (
    <Group gap="xs" wrap="nowrap" align="flex-start">
      <Code block style={{ flex: 1, whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>{text}</Code>
      <CopyButton value={text}>
        {({ copied, copy }) => <Button size="xs" variant="default" onClick={copy}>{copied ? "Copied" : "Copy"}</Button>}
      </CopyButton>
    </Group>
  );
}
