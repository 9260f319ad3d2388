// Before anything is drawn: light or dark, so that the page does not flash.
const kept = localStorage.getItem("mantine-color-scheme-value") || "auto";
const isDark = kept === "dark" || (kept === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
document.documentElement.setAttribute("data-mantine-color-scheme", isDark ? "dark" : "light");
