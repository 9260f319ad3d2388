export function bytes(size: number | null | undefined): string {
  if (size === null || size === undefined) return "";
  let value = size;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (value < 1024) return `${value < 10 && unit !== "B" ? value.toFixed(1) : Math.round(value)} ${unit}`;
    value /= 1024;
  }
  return `${value.toFixed(1)} TiB`;
}

export function seconds(passed: number | null | undefined): string {
  if (passed === null || passed === undefined) return "";
  if (passed < 1) return `${Math.round(passed * 1000)} ms`;
  if (passed < 60) return `${passed.toFixed(1)} s`;
  if (passed < 3600) return `${Math.floor(passed / 60)} min ${Math.round(passed % 60)} s`;
  return `${Math.floor(passed / 3600)} h ${Math.round((passed % 3600) / 60)} min`;
}

export function ago(at: number, now: number): string {
  const passed = Math.max(0, now - at);
  if (passed < 2) return "now";
  if (passed < 60) return `${Math.floor(passed)} s ago`;
  if (passed < 3600) return `${Math.floor(passed / 60)} min ago`;
  if (passed < 86_400) return `${Math.floor(passed / 3600)} h ago`;
  return `${Math.floor(passed / 86_400)} d ago`;
}

const whole = new Intl.NumberFormat("en");
export const count = (value: number) => whole.format(value);
export const rate = (value: number) => (value >= 100 ? whole.format(Math.round(value)) : value.toFixed(value < 10 ? 1 : 0));
export const many = (value: number, one: string) => `${count(value)} ${one}${value === 1 ? "" : "s"}`;
