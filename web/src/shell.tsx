import { AppShell, Badge, Burger, Button, Group, Menu, NavLink, ScrollArea, Title, useMantineColorScheme } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useEffect, useState } from "react";
import { Link, useLocation } from "wouter";
import { useAbout } from "./api/queries";
import { type Link as Connection, follow } from "./api/live";
import { useSession } from "./api/session";
import type { Me } from "./api/types";

type Place = { path: string; name: string; isForAdmins?: boolean; needs?: "cluster" | "modules"; also?: string };
const PLACES: Place[] = [
  { path: "/", name: "Overview" },
  { path: "/tasks", name: "Tasks" },
  { path: "/jobs", name: "Jobs", needs: "cluster", also: "/study" },
  { path: "/executors", name: "Executors" },
  { path: "/cluster", name: "Cluster", needs: "cluster" },
  { path: "/modules", name: "Modules", needs: "modules" },
  { path: "/people", name: "People", isForAdmins: true },
];
const isAt = ({ path, also }: Place, here: string) => (path === "/" ? here === "/" : here.startsWith(path) || here === also);
const SCHEMES = { auto: "As the system", light: "Light", dark: "Dark" } as const;

export function Shell({ me, children }: { me: Me; children: ReactNode }) {
  const client = useQueryClient();
  const [isOpen, menu] = useDisclosure(false);
  const [path] = useLocation();
  const [link, setLink] = useState<Connection>("connecting");
  const { leave } = useSession();
  const scheme = useMantineColorScheme();

  useEffect(() => follow(client, setLink), [client]);
  const { close } = menu;
  useEffect(() => {
    close();
    const place = PLACES.find((each) => each.path !== "/" && isAt(each, path));
    document.title = place ? `${place.name} · PARCS` : "PARCS";
  }, [path, close]);

  const about = useAbout().data;
  const isOffered = (place: Place) => (!place.isForAdmins || me.role === "admin") && (!place.needs || about?.[place.needs]);
  return (
    <AppShell header={{ height: 52 }} navbar={{ width: 190, breakpoint: "sm", collapsed: { mobile: !isOpen } }} padding="md">
      <a className="skip" href="#content">To the content</a>
      <AppShell.Header>
        <Group h="100%" px="md" gap="sm" wrap="nowrap">
          <Burger opened={isOpen} onClick={menu.toggle} hiddenFrom="sm" size="sm" aria-label="Menu" />
          <Title order={1} size="h4"><Link href="/" className="plain">PARCS</Link></Title>
          <span role="status">
            {link === "lost" && <Badge color="orange" variant="filled" tt="none" autoContrast>The hub is away; trying again</Badge>}
          </span>
          <Menu position="bottom-end" withinPortal>
            <Menu.Target><Button ml="auto" variant="subtle" color="gray" size="compact-sm">{me.name}{me.role !== "admin" && ` (${me.role})`}</Button></Menu.Target>
            <Menu.Dropdown>
              <Menu.Label>{me.role}</Menu.Label>
              <Menu.Item component={Link} href="/account">Password and tokens</Menu.Item>
              <Menu.Divider />
              <Menu.Label>Colours</Menu.Label>
              {Object.entries(SCHEMES).map(([key, name]) => (
                <Menu.Item key={key} onClick={() => scheme.setColorScheme(key as keyof typeof SCHEMES)}
                  fw={scheme.colorScheme === key ? 700 : 400}>
                  {name}
                </Menu.Item>
              ))}
              <Menu.Divider />
              <Menu.Item onClick={() => void leave()}>Log out</Menu.Item>
            </Menu.Dropdown>
          </Menu>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="xs" aria-label="Pages">
        <ScrollArea>
          {PLACES.filter(isOffered).map((place) => (
            <NavLink key={place.path} component={Link} href={place.path} label={place.name} active={isAt(place, path)}
              aria-current={isAt(place, path) ? "page" : undefined} variant="light" />
          ))}
        </ScrollArea>
      </AppShell.Navbar>
      <AppShell.Main id="content">{children}</AppShell.Main>
    </AppShell>
  );
}
