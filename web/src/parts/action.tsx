import { Button, type ButtonProps, Group, Popover, Stack, Text } from "@mantine/core";
import { type ReactNode, useState } from "react";
import { ProblemNote } from "./problem";

type Props = ButtonProps & {
  children: ReactNode;
  act: () => Promise<unknown>;
  /** Asked before, where something is lost. */
  sure?: string;
};

/** A button that does something at the hub: it shows that it is under way, and what went wrong, beside it. */
export function Action({ children, act, sure, ...rest }: Props) {
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [isAsked, setAsked] = useState(false);

  const run = async () => {
    setBusy(true);
    setError(null);
    try {
      await act();
      setAsked(false);
    } catch (caught) {
      setError(caught);
    } finally {
      setBusy(false);
    }
  };

  const close = (isOpen: boolean) => {
    if (isOpen) return;
    setAsked(false);
    setError(null);
  };

  return (
    <Popover opened={isAsked || error !== null} onChange={close} withArrow trapFocus>
      <Popover.Target>
        <Button size="xs" variant="default" {...rest} loading={isBusy} onClick={() => (sure ? setAsked(true) : void run())}>
          {children}
        </Button>
      </Popover.Target>
      <Popover.Dropdown maw={340}>
        <Stack gap="xs">
          {isAsked && <Text size="sm">{sure}</Text>}
          <ProblemNote error={error} />
          {isAsked && (
            <Group gap="xs" justify="flex-end">
              <Button size="xs" variant="subtle" onClick={() => setAsked(false)}>Keep</Button>
              <Button size="xs" color="red" loading={isBusy} onClick={() => void run()} data-autofocus>{children}</Button>
            </Group>
          )}
        </Stack>
      </Popover.Dropdown>
    </Popover>
  );
}
