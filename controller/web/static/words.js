// Durations and sizes as the command line writes them, and small pieces of the page. Text is only ever
// put in as text: nothing that a host or a person wrote becomes markup.
export const order = ["critical", "unknown", "late", "suspended", "observed", "fine"];
export const paths = { Site: "sites", Host: "hosts", VirtualMachine: "vms", Network: "networks", Switch: "switches", InterSiteLink: "links", Witness: "witnesses" };

export function duration(age_s) {
  const s = Math.max(0, Math.floor(age_s));
  if (s < 60) return `${s}s`;
  if (s < 3600 && s % 60 === 0) return `${s / 60}m`;
  if (s < 3600) return `${Math.floor(s / 60)}m${String(s % 60).padStart(2, "0")}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h${String(Math.floor((s % 3600) / 60)).padStart(2, "0")}m`;
  return `${Math.floor(s / 86400)}d`;
}

// How far this browser's clock is from the server's, by when the page began to come.
const began_ms = performance.timeOrigin + (performance.getEntriesByType("navigation")[0]?.responseStart ?? 0);
const skew_s = Number(document.documentElement.dataset.now) - began_ms / 1000;
export const now_s = () => Date.now() / 1000 + skew_s;

export const gib = (bytes) => (bytes / 2 ** 30).toFixed(bytes < 10 * 2 ** 30 ? 1 : 0);

export function clock(at) {
  return new Date(at * 1000).toLocaleTimeString([], { hour12: false });
}

export function make(tag, className = "", ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children.filter((one) => one !== null && one !== undefined && one !== ""));
  return node;
}

export function shape(level) {
  const node = make("span", `shape ${level}`);
  node.setAttribute("role", "img");
  node.setAttribute("aria-label", level);
  return node;
}

// A sentence, its commands as commands.
export function told(sentence) {
  return sentence.split(/`([^`]+)`/).map((part, index) => index % 2 ? make("code", "", part) : part);
}

export function act(text, className, values) {
  const node = make("a", className, text);
  node.href = `/act?${new URLSearchParams(values)}`;
  node.dataset.act = "";
  return node;
}

export function link(target, text, className = "") {
  const [kind, name] = [target.slice(0, target.indexOf("/")), target.slice(target.indexOf("/") + 1)];
  if (!(kind in paths)) return make("b", "", text ?? name);
  const node = make("a", className, text ?? name);
  node.href = `/${paths[kind]}/${encodeURIComponent(name)}`;
  return node;
}

export function bar(share, className = "") {
  const inner = make("i");
  inner.style.width = `${Math.round(100 * Math.min(1, Math.max(0, share)))}%`;
  return make("span", `bar ${className}`, inner);
}
