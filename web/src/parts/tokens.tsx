import { Table, Title } from "@mantine/core";
import { useChange } from "../api/change";
import { ask } from "../api/http";
import { useTokens } from "../api/queries";
import { useMe } from "../api/session";
import { Action } from "./action";
import { ProblemNote } from "./problem";
import { Ago, useNow } from "./time";

/** Tokens that are good for something. */
export function TokenList({ isOwn }: { isOwn: boolean }) {
  const found = useTokens();
  const me = useMe().data;
  const change = useChange("tokens");
  const now = useNow();
  const tokens = found.data?.filter((each) => !each.revoked && (!each.expires || each.expires > now) && (!isOwn || each.user === me?.name));
  const revoke = (id: number) => () => change(() => ask(`/tokens/${id}`, { method: "DELETE" }));
  return (
    <section>
      <Title order={3} size="h4">Tokens</Title>
      <ProblemNote error={found.error} />
      <div className="scroll">
        <Table>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Name</Table.Th><Table.Th>Kind</Table.Th>{!isOwn && <Table.Th>Whose</Table.Th>}<Table.Th>Made</Table.Th>
              <Table.Th>Used</Table.Th><Table.Th>Ends</Table.Th><Table.Th aria-label="Revoke" />
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {tokens?.map((each) => (
              <Table.Tr key={each.id}>
                <Table.Td>{each.name}</Table.Td><Table.Td>{each.kind}</Table.Td>{!isOwn && <Table.Td>{each.user}</Table.Td>}
                <Table.Td><Ago at={each.created} /></Table.Td>
                <Table.Td>{each.last_used ? <Ago at={each.last_used} /> : "never"}</Table.Td>
                <Table.Td>{each.expires ? new Date(each.expires * 1000).toLocaleDateString() : "never"}</Table.Td>
                <Table.Td>
                  <Action act={revoke(each.id)} sure={`Revoke “${each.name}”? Whoever uses it is shut out within two seconds.`}>Revoke</Action>
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </div>
    </section>
  );
}
