// An act in a dialog: the form is the page of that act, which works by itself without scripts. What the
// server answers is shown in the same place: the form again with the sentence why not, or the end.
const box = document.createElement("dialog");
box.id = "dialog";
document.body.append(box);
let opener = null;

function show(text) {
  const form = new DOMParser().parseFromString(text, "text/html").getElementById("act");
  if (!form) return false;
  box.replaceChildren(form);
  box.setAttribute("aria-labelledby", "act-title");
  if (!box.open) box.showModal();
  (form.querySelector("input:not([type=hidden])") ?? form.querySelector("button, a"))?.focus();
  return true;
}

addEventListener("click", async (event) => {
  const node = event.target.closest("a");
  if (!node || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  if (box.contains(node) && "close" in node.dataset) {
    event.preventDefault();
    box.close();
  } else if ("act" in node.dataset) {
    event.preventDefault();
    opener = node.getAttribute("href");
    const reply = await fetch(node.href, { headers: { accept: "text/html" } }).catch(() => null);
    if (!reply || !show(await reply.text())) location.assign(node.href);
  }
});

box.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target, button = form.querySelector("button");
  button.disabled = true;
  const reply = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) }).catch(() => null);
  button.disabled = false;
  if (reply?.redirected) {
    box.close();
    const page = new DOMParser().parseFromString(await reply.text(), "text/html");
    tell(page.getElementById("told")?.textContent ?? "");
  } else if (!reply || !show(await reply.text())) {
    show('<form id="act"><h1 id="act-title">Nothing was heard</h1><p role="alert">Whether it was done is not known: look at what happened.</p><p><a href="/" data-close>Close</a></p></form>');
  }
});

box.addEventListener("close", () => {
  if (opener) [...document.querySelectorAll("a[data-act]")].find((one) => one.getAttribute("href") === opener)?.focus();
});

// ---- what was done, for a while
let timer = 0;

function tell(sentence) {
  const told = document.getElementById("told");
  told.textContent = sentence;
  clearTimeout(timer);
  timer = setTimeout(() => { told.textContent = ""; }, 8000);
}

const query = new URLSearchParams(location.search);
if (query.has("done")) {
  tell(document.getElementById("told").textContent);
  query.delete("done");
  history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
}
