// One object: the page is asked for again when the object changed, and its text put in place.
const main = document.getElementById("object");
let timer = 0;
let wanted = false;

async function again() {
  timer = 0;
  const reply = await fetch(location.href, { headers: { accept: "text/html" } });
  if (!reply.ok) return;
  const text = new DOMParser().parseFromString(await reply.text(), "text/html").getElementById("object");
  if (text) main.replaceChildren(...text.childNodes);
}

function soon() {
  if (!timer) timer = setTimeout(again, 500);
}

const stream = new EventSource("/api/v1/stream");
stream.addEventListener("rows", (event) => {
  if (wanted && main.dataset.target in JSON.parse(event.data)) soon();
  wanted = true;
});
stream.addEventListener("head", () => wanted && soon());
addEventListener("pagehide", () => stream.close());
