import "uplot/dist/uPlot.min.css";
import { useComputedColorScheme } from "@mantine/core";
import { useEffect, useRef } from "react";
import uPlot from "uplot";

/** Less is not stretched to the chart's width. */
const SHORTEST_S = 120;

export type Line = { label: string; color: string; values: (number | null)[]; isFilled?: boolean };

type Props = { times: number[]; lines: Line[]; label: string; format: (value: number) => string; height?: number };

/** Values over time. Its data change without drawing anything else anew. */
export function Chart({ times, lines, label, format, height = 190 }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | null>(null);
  const scheme = useComputedColorScheme("light");
  const shape = lines.map((line) => line.label + line.color).join();
  const data = [times, ...lines.map((line) => line.values)] as uPlot.AlignedData;
  const latest = useRef(data);
  latest.current = data;

  // biome-ignore lint: the chart is made anew only when its lines or colours are others
  useEffect(() => {
    const box = place.current;
    if (!box) return;
    const ink = scheme === "dark" ? "#c1c2c5" : "#495057";
    const grid = { stroke: scheme === "dark" ? "#373a40" : "#e9ecef", width: 1 };
    const made = new uPlot(
      {
        width: box.clientWidth, height, padding: [8, 8, 0, 0],
        legend: { live: false }, cursor: { y: false, drag: { x: false, y: false } },
        scales: { x: { range: (_, min, max) => [Math.min(min, max - SHORTEST_S), max] }, y: { range: (_, __, max) => [0, Math.max(1, max * 1.1)] } },
        axes: [
          { stroke: ink, grid: { show: false }, ticks: grid, values: "{HH}:{mm}", space: 70, size: 28 },
          { stroke: ink, grid, ticks: { show: false }, values: (_, found) => found.map((value) => format(value)), size: 48 },
        ],
        series: [
          {},
          ...lines.map((line) => ({
            label: line.label, stroke: line.color, width: 2, points: { show: false },
            ...(line.isFilled ? { fill: `${line.color}22` } : {}),
          })),
        ],
      },
      latest.current, box,
    );
    chart.current = made;
    const resized = new ResizeObserver(() => made.setSize({ width: box.clientWidth, height }));
    resized.observe(box);
    return () => {
      resized.disconnect();
      made.destroy();
      chart.current = null;
    };
  }, [scheme, shape, height]);

  useEffect(() => chart.current?.setData(data), [data]);
  return <div ref={place} role="img" aria-label={label} style={{ minHeight: height + 30 }} />;
}
