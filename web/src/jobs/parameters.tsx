import { NumberInput, Select, Text, TextInput } from "@mantine/core";
import { useModules } from "../api/queries";
import type { ModuleImage } from "../api/types";
import { ProblemNote } from "../parts/problem";

type Props = { name: string | null; setName: (name: string | null) => void; without?: string };

/** A module of the registry, by its name with a tag where it is not the latest. */
export function useModule(name: string | null) {
  const modules = useModules();
  const names = (modules.data ?? []).map((each) => (each.tag === "latest" ? each.name : `${each.name}:${each.tag}`));
  return { modules, names, module: modules.data?.[names.indexOf(name ?? "")] };
}

/** Fields for a module and what it declares as its parameters. */
export function Parameters({ name, setName, without }: Props) {
  const { modules, names, module } = useModule(name);
  return (
    <>
      <Select label="Module" data={names} value={name} onChange={setName} searchable placeholder={modules.isPending ? "…" : "of the registry"}
        description={modules.data?.length === 0 ? "The registry has none; push one with: parcs module push" : undefined} />
      <ProblemNote error={modules.error} />
      {module?.about && <Text size="sm">{module.about}</Text>}
      {Object.entries(module?.parameters ?? {}).filter(([key]) => key !== without).map(([key, about]) =>
        about.type === "int" || about.type === "float" ? (
          <NumberInput key={`${name}.${key}`} name={key} label={key} description={about.help} required={about.default === null}
            defaultValue={about.default === null ? "" : Number(about.default)} allowDecimal={about.type === "float"} />
        ) : (
          <TextInput key={`${name}.${key}`} name={key} label={key} description={about.help} required={about.default === null} defaultValue={about.default ?? ""} />
        ))}
    </>
  );
}

/** What the form says; an empty field leaves the module's own value. */
export function parametersOf(form: HTMLFormElement, module: ModuleImage | undefined) {
  const given = new FormData(form);
  const parameters: Record<string, string> = {};
  for (const key of Object.keys(module?.parameters ?? {})) if (given.get(key)) parameters[key] = String(given.get(key));
  return parameters;
}
