// One object: the page is asked for again when the object changed, and its text put in place. Silence is
// said, as on the main page: what is old never looks alive.
import { duration, now_s } from "./words.js";

const SILENT_MS = 15000;
const main = document.getElementById("object"), silent = document.getElementById("silent");
const fault = silent.textContent;
let timer = 0, wanted = false, heard = performance.now(), stream = null, last = "", loop = null;

async function again() {
  timer = 0;
  const reply = await fetch(location.pathname, { headers: { accept: "text/html" } }).catch(() => null);
  if (!reply?.ok) return;
  const text = new DOMParser().parseFromString(await reply.text(), "text/html").getElementById("object");
  const declared = text?.querySelector("details");
  if (declared) declared.open = main.querySelector("details")?.open ?? false;
  if (text && !main.contains(document.activeElement)) main.replaceChildren(...text.childNodes);
  else if (text) soon();
}

function soon() {
  if (!timer) timer = setTimeout(again, 500);
}

function tick() {
  const silent_ms = performance.now() - heard, old = silent_ms > SILENT_MS && !document.hidden;
  const gone_s = loop?.at ? now_s() - loop.at : 0;
  document.body.classList.toggle("stale", old);
  if (old) silent.textContent = `This page has heard nothing for ${duration(silent_ms / 1000)}. What it shows is that old.`;
  else if (loop?.at && (loop.stopped || gone_s > loop.alive_s)) silent.textContent = `The loop is not running: its last word is ${duration(gone_s)} old, and so is what follows.`;
  else silent.textContent = fault;
  silent.hidden = !silent.textContent;
}

function open() {
  stream = new EventSource(`/api/v1/stream${last ? `?since=${last}` : ""}`);
  for (const name of ["beat", "reset", "rows", "head"]) stream.addEventListener(name, (event) => {
    heard = performance.now();
    if (event.lastEventId) last = event.lastEventId;
    if (name === "head") loop = JSON.parse(event.data).loop;
    if (wanted && (name === "head" || (name === "rows" && main.dataset.target in JSON.parse(event.data)))) soon();
    wanted ||= name === "rows";
  });
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) stream?.close();
  else { heard = performance.now(); open(); soon(); }
});
addEventListener("pagehide", () => stream?.close());
open();
setInterval(tick, 1000);
