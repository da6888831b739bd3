// The main page: rows and head come over one stream, and only the part that changed is drawn.
//
//   stream ── rows by target, head ──► draw at the next frame ──► strip, sites, rail
//   clock, once a second ── ages only ──►
//
// Lists hold only the rows in sight: a row with trouble is taller, and comes first, so that where a row
// stands is a sum. Ages are counted here from instants; the server sends none.
import { act, bar, clock, duration, gib, link, make, now_s, order, shape, told } from "./words.js";
import { means } from "./search.js";

const SILENT_MS = 15000, PLAIN_PX = 28, TALL_PX = 46, SPARE = 6;
const rows = new Map(), phone = matchMedia("(max-width: 760px)");
const at = (id) => document.getElementById(id);
let head = null, heard = performance.now(), due = new Set(), frame = 0, stream = null, last = "", seenEvents = 0;
const state = { words: new URLSearchParams(location.search).get("q") ?? "", level: new URLSearchParams(location.search).get("is") ?? "" };

const of = (kind) => [...rows.values()].filter((row) => row.kind === kind);
const rank = (row) => order.indexOf(row.level);
const byTrouble = (a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1);

function draw(...parts) {
  parts.forEach((one) => due.add(one));
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    const parts = due;
    due = new Set();
    if (parts.has("head")) drawHead();
    if (parts.has("strip")) drawStrip();
    if (parts.has("sites")) drawSites();
    if (parts.has("lists")) lists.forEach((one) => one.fill());
    if (parts.has("ages")) drawAges();
  });
}

// ---- lists with rows in sight only
const lists = new Map();

class List {
  constructor(node, cells) {
    this.node = node;
    this.cells = cells;
    this.gone = new AbortController();
    this.rows = [];
    this.inner = make("div", "rows");
    node.replaceChildren(this.inner);
    node.addEventListener("scroll", () => this.show(), { passive: true });
    addEventListener("scroll", () => this.show(), { passive: true, signal: this.gone.signal });
    new ResizeObserver(() => this.show()).observe(node);
  }
  fill() {
    this.rows = this.pick().sort(byTrouble);
    this.tall = this.rows.findIndex((row) => !row.sentence || row.level === "fine");
    if (this.tall < 0) this.tall = this.rows.length;
    const more_px = phone.matches ? 10 : 0;
    this.plain_px = PLAIN_PX + more_px;
    this.tall_px = TALL_PX + more_px;
    this.inner.style.height = `${this.top(this.rows.length)}px`;
    this.show();
  }
  top(index) {
    return Math.min(index, this.tall) * this.tall_px + Math.max(0, index - this.tall) * this.plain_px;
  }
  show() {
    // on a phone the whole page scrolls, and not the list
    const top_px = phone.matches ? this.node.getBoundingClientRect().top : 0;
    const from_px = phone.matches ? Math.max(0, -top_px) : this.node.scrollTop;
    const until_px = phone.matches ? innerHeight - top_px : from_px + this.node.clientHeight;
    let first = 0;
    while (first < this.rows.length && this.top(first + 1) < from_px) first += 1;
    first = Math.max(0, first - SPARE);
    const shown = [];
    for (let index = first; index < this.rows.length && (this.top(index) < until_px || shown.length < SPARE); index += 1) {
      const row = this.rows[index], node = make("div", `row ${row.level}${index < this.tall ? " tall" : ""}`, ...this.cells(row));
      node.setAttribute("role", "row");
      [...node.children].forEach((cell) => cell.setAttribute("role", "cell"));
      node.style.top = `${this.top(index)}px`;
      node.style.height = `${index < this.tall ? this.tall_px : this.plain_px}px`;
      if (index < this.tall) node.append(Object.assign(make("span", "why cut", row.sentence), { title: row.sentence }));
      shown.push(node);
    }
    this.inner.replaceChildren(...shown);
  }
}

function hostCells(row) {
  const known = row.answers, all = row.memory_bytes ? `${gib(row.memory_bytes)} GiB` : "";
  const used = all && `${known ? gib(row.used_bytes) : "–"} / ${all}`;
  return [shape(row.maintenance ? "maintenance" : row.level), make("span", "cut", link(`Host/${row.name}`)),
    make("span", "right", String(row.running ?? "–")), make("span", "right", known && row.load !== null ? row.load.toFixed(1) : "–"),
    bar(known && row.cpus ? row.load / row.cpus : 0), make("span", "right", used || "–"),
    bar(known && row.memory_bytes ? row.used_bytes / row.memory_bytes : 0)];
}

function machineCells(row) {
  const age = make("span", "right age");
  if (row.policy && row.point_at) age.dataset.at = row.point_at;
  age.textContent = row.policy ? (row.point_at ? duration(now_s() - row.point_at) : "none") : "–";
  const share = row.rpo_s && row.point_at ? (now_s() - row.point_at) / (1.5 * row.rpo_s) : 0;
  const off = row.power && !["running", "paused", "blocked"].includes(row.power);
  return [shape(off && row.level === "fine" ? "off" : row.level), make("span", "cut", link(`VirtualMachine/${row.name}`)),
    make("span", "cut host", row.host ?? "–"), make("span", "cut policy soft", row.policy ? `${row.policy}${row.rpo_s ? ` ${duration(row.rpo_s).replace(/h00m$/, "h")}` : ""}` : "not protected"),
    row.rpo_s ? bar(share, `age-bar ${row.level}`) : make("span"), age];
}

// ---- parts
function drawHead() {
  const loop = head.loop, age_s = loop.at ? now_s() - loop.at : Infinity;
  const lives = loop.at && !loop.stopped && age_s < loop.alive_s;
  at("alive").replaceChildren(shape(lives ? "fine" : "critical"), lives ? " live" : loop.at ? ` the loop is not running, ${duration(age_s)}` : " no loop");
  at("verdicts").replaceChildren(...head.sites.map(verdict));
  if (!head.sites.length) at("verdicts").replaceChildren(make("section", "verdict", make("p", "soft", "Nothing is known yet"), make("h2", "", shape("unknown"), " No loop has decided anything with this state folder: start ", make("code", "", "hotsite run"))));
  rail("waits", head.waits, (one) => make("div", "card", make("b", "", link(one.target)), make("p", "", ...told(one.sentence)),
    one.consequence ? make("p", "soft", ...told(one.consequence)) : null,
    make("p", "buttons", act("Approve…", "press", { verb: "approve", step: one.id }), link(one.target, "Why", "quiet"))));
  rail("runs", head.runs, (one) => make("p", "run", make("b", "", link(one.target)), ` ${one.verb} `, make("span", "soft", one.progress || one.sentence), age(one.at)));
  rail("suspended", head.suspended, (one) => make("p", "", shape("suspended"), " ", make("b", "", link(one.target)), ` until ${clock(one.until_at)} `, make("span", "soft", `${one.why}, ${one.by}`), " ", act("Resume", "quiet", { verb: "resume", target: one.target })));
}

function age(instant) {
  const node = make("span", "age right soft", duration(now_s() - instant));
  node.dataset.at = instant;
  return node;
}

function rail(id, found, render) {
  at(`${id}-count`).textContent = found.length;
  at(id).replaceChildren(...(found.length ? found.map(render) : [make("p", "faint", "Nothing")]));
}

function verdict(one) {
  const late = of("VirtualMachine").filter((row) => row.site === one.site && row.rpo_s && row.point_at && now_s() - row.point_at > row.rpo_s);
  const level = one.level === "fine" && late.length ? "late" : one.level;
  const facts = make("p", "soft facts");
  if (one.worst) {
    const loss = make("b", "age", duration(now_s() - one.worst_at));
    loss.dataset.at = one.worst_at;
    facts.append(make("span", "", "worst loss ", loss, ` (${one.worst})`));
  }
  if (late.length) facts.append(make("span", "late", `${late.length} over ${late.length === 1 ? "its" : "their"} objective (${late.slice(0, 3).map((row) => row.name).join(", ")})`));
  if (one.last_start_s) facts.append(make("span", "", `last start after ${duration(one.last_start_s)}`));
  if (one.basis) facts.append(make("span", "", one.basis));
  facts.append(make("span", "", one.automatic ? `${one.automatic} fail over by themselves` : "failover waits for your word"));
  if (one.hindered.length) facts.title = one.hindered.map((found) => `${found.machine}: ${found.sentence}`).join("\n");
  return make("section", "verdict", make("p", "soft", `If ${one.site} is lost now`), make("h2", "", shape(level), ` ${one.verdict}`), facts);
}

function drawStrip() {
  const items = [...of("InterSiteLink"), ...of("Switch"), ...of("Witness")].sort(byTrouble)
    .map((row) => item(`${row.kind}/${row.name}`, row, row.name));
  const networks = of("Network").sort((a, b) => rank(a) - rank(b) || (a.sentence < b.sentence ? -1 : a.sentence > b.sentence ? 1 : byTrouble(a, b)));
  const shown = networks.filter((row, index) => index < 12 || row.level !== "fine");
  if (items.length && shown.length) items.push(make("span", "divider"));
  items.push(...shown.map((row, index) => item(`Network/${row.name}`, row, `${row.vlan ?? ""} ${row.name}`, row.sentence === shown[index + 1]?.sentence)));
  if (shown.length < networks.length) items.push(make("span", "soft", `${networks.length - shown.length} others everywhere`));
  at("strip").replaceChildren(...items);
}

function item(target, row, text, saidNext = false) {
  const node = make("span", "item", shape(row.level), link(target, text));
  if (row.sentence && !saidNext) node.append(make("span", row.level, row.sentence));
  return node;
}

function drawSites() {
  const names = of("Site").map((row) => row.name).sort();
  const stray = of("VirtualMachine").some((row) => !names.includes(row.site)) ? [null] : [];
  const key = [...names, ...stray].join("\n");
  if (at("sites").dataset.key !== key) {
    at("sites").dataset.key = key;
    lists.forEach((one) => one.gone.abort());
    lists.clear();
    at("sites").replaceChildren(...(key || stray.length ? [places([...names, ...stray]), ...[...names, ...stray].map(site), filter()] : []));
  }
  for (const name of [...names, ...stray]) {
    const hosts = of("Host").filter((row) => row.site === name);
    const used = hosts.reduce((sum, row) => sum + (row.used_bytes ?? 0), 0), all = hosts.reduce((sum, row) => sum + (row.memory_bytes ?? 0), 0);
    at(`hosts-of-${name}`).textContent = `${hosts.length} hosts, ${gib(used)} of ${gib(all)} GiB in use`;
  }
  if (at("chips")) drawChips();
  draw("lists");
}

function site(name) {
  const hosts = make("div", "list hosts"), machines = make("div", "list machines");
  for (const [node, label] of [[hosts, `Hosts of ${name}`], [machines, `Virtual machines at ${name}`]]) {
    node.tabIndex = 0;
    node.setAttribute("role", "table");
    node.setAttribute("aria-label", label);
  }
  const hostList = new List(hosts, hostCells), machineList = new List(machines, machineCells);
  hostList.pick = () => of("Host").filter((row) => row.site === name);
  machineList.pick = () => of("VirtualMachine").filter((row) => (name === null ? !at(`hosts-of-${row.site}`) : row.site === name) && chosen(row) && means(row, state.words));
  lists.set(`hosts ${name}`, hostList);
  lists.set(`machines ${name}`, machineList);
  return make("section", "site", make("div", "title", make("h3", "", name ?? "Nowhere yet"), Object.assign(make("span", "soft"), { id: `hosts-of-${name}` })),
    columns("host", ["", "Host", "VMs", "Load", "", "Memory", ""]), hosts,
    columns("machine", ["", "VM", "Host", "Objective", "", "Replica age"]), machines);
}

// On a phone one site is shown at a time, and this says which.
function places(names) {
  const buttons = names.map((name, index) => {
    const button = make("button", "", name ?? "Nowhere yet");
    button.addEventListener("click", () => turn(index));
    return button;
  });
  const turn = (chosen) => {
    at("sites").querySelectorAll(".site").forEach((one, index) => one.classList.toggle("away", index !== chosen));
    buttons.forEach((one, index) => one.setAttribute("aria-pressed", String(index === chosen)));
    lists.forEach((one) => one.show());
  };
  requestAnimationFrame(() => turn(0));
  return make("div", "places chips", ...buttons);
}

const columns = (kind, words) => make("div", `head ${kind}`, ...words.map((word) => make("span", "", word)));

// ---- filter and search, which live in the address
const LEVELS = [["", "All"], ["look", "Need a look"], ["critical", "Critical"], ["late", "Late"], ["unknown", "Unknown"], ["suspended", "Suspended"], ["observed", "Observed"]];
const inLevel = (row, level) => !level || (level === "look" ? row.level !== "fine" && row.level !== "observed" : row.level === level);
const chosen = (row) => inLevel(row, state.level);

function filter() {
  return make("div", "filter", make("h3", "", "Virtual machines"), Object.assign(make("span", "soft"), { id: "machines-count" }), Object.assign(make("span", "chips"), { id: "chips" }));
}

function drawChips() {
  const all = of("VirtualMachine"), found = all.filter((row) => chosen(row) && means(row, state.words));
  at("machines-count").textContent = found.length === all.length ? all.length : `${found.length} of ${all.length}`;
  at("chips").replaceChildren(...LEVELS.filter(([level]) => !level || level === state.level || all.some((row) => inLevel(row, level))).map(([level, word]) => {
    const count = level ? ` ${all.filter((row) => inLevel(row, level)).length}` : "";
    const button = make("button", "", word + count);
    button.setAttribute("aria-pressed", String(level === state.level));
    button.addEventListener("click", () => choose({ level }));
    return button;
  }));
}

function choose(change) {
  Object.assign(state, change);
  const query = new URLSearchParams([["q", state.words], ["is", state.level]].filter(([, value]) => value));
  history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
  draw("sites");
}

// ---- what goes on with time
function drawAges() {
  document.querySelectorAll(".age[data-at]").forEach((node) => {
    const text = duration(now_s() - Number(node.dataset.at));
    if (node.textContent !== text) node.textContent = text;
  });
  at("clock").textContent = clock(now_s());
}

function tick() {
  const silent_ms = performance.now() - heard, silent = silent_ms > SILENT_MS && !document.hidden;
  document.body.classList.toggle("stale", silent);
  if (silent) at("silent").textContent = `This page has heard nothing for ${duration(silent_ms / 1000)}. What it shows is that old.`;
  else if (head?.fault) at("silent").textContent = head.fault;
  else if (head?.loop.at && (head.loop.stopped || now_s() - head.loop.at > head.loop.alive_s)) at("silent").textContent = `The loop is not running: its last word is ${duration(now_s() - head.loop.at)} old, and so is what follows.`;
  else at("silent").textContent = "";
  at("silent").hidden = !at("silent").textContent;
  if (head) at("glass").textContent = head.break_glass?.sentence ?? "";
  at("glass").hidden = !at("glass").textContent;
  draw("ages");
}

// ---- what is heard
async function drawEvents() {
  const reply = await fetch(`/api/v1/events?limit=60${seenEvents ? `&after=${seenEvents}` : ""}`).catch(() => null);
  const events = reply?.ok ? (await reply.json().catch(() => ({}))).events ?? [] : [];
  for (const one of events) {
    seenEvents = Math.max(seenEvents, one.id);
    if (one.kind === "intent") continue;
    at("events").prepend(make("p", "event", make("span", "soft", clock(one.at)), make("span", "", make("b", "", link(one.target)), " ", ...told(one.sentence))));
  }
  while (at("events").childElementCount > 200) at("events").lastChild.remove();
}

function hear(event, take) {
  heard = performance.now();
  if (event.lastEventId) last = event.lastEventId;
  take(JSON.parse(event.data));
}

function open() {
  stream = new EventSource(`/api/v1/stream${last ? `?since=${last}` : ""}`);
  stream.onopen = () => { heard = performance.now(); };
  stream.addEventListener("beat", () => { heard = performance.now(); });
  stream.addEventListener("reset", (event) => hear(event, () => rows.clear()));
  stream.addEventListener("rows", (event) => hear(event, (changed) => {
    for (const [target, row] of Object.entries(changed)) row ? rows.set(target, row) : rows.delete(target);
    draw("strip", "sites");
    if (head) draw("head");
  }));
  stream.addEventListener("head", (event) => hear(event, (found) => {
    head = found;
    draw("head");
    drawEvents();
  }));
}

// ---- keys
const find = at("find");
find.value = state.words;
find.addEventListener("input", () => choose({ words: find.value }));
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = document.activeElement === find;
  if (event.key === "/" && !typing) { event.preventDefault(); find.focus(); find.select(); }
  else if (event.key === "Escape") { find.value = ""; find.blur(); choose({ words: "", level: "" }); }
  else if (event.key === "a" && !typing) choose({ level: state.level === "look" ? "" : "look" });
});
phone.addEventListener("change", () => lists.forEach((one) => one.fill()));
document.addEventListener("visibilitychange", () => {
  if (document.hidden) stream?.close();
  else { heard = performance.now(); open(); }
});
addEventListener("pagehide", () => stream?.close());
open();
setInterval(tick, 1000);
