// Replaces what changed once a second, and sends forms without leaving the page.
"use strict";

const said = document.getElementById("said");

function show(fresh) {
  const list = document.getElementById("phones");
  for (const phone of fresh.querySelectorAll("#phones > .phone")) {
    if (!document.getElementById(phone.id)) list.append(document.importNode(phone, true));
  }
  for (const part of fresh.querySelectorAll("[data-live]")) {
    const here = document.getElementById(part.id);
    // What one is using right now is left alone until the next round.
    if (!here || here.dataset.shown === part.innerHTML || here.querySelector(":active")) continue;
    const opened = [...here.querySelectorAll("details")].filter((mail) => mail.open).map((mail) => mail.textContent);
    here.dataset.shown = part.innerHTML;
    here.innerHTML = part.innerHTML;
    for (const mail of here.querySelectorAll("details")) mail.open = opened.includes(mail.textContent);
    if ("bottom" in here.dataset) here.scrollTop = here.scrollHeight;
  }
}

async function refresh() {
  const answer = await fetch(location.href, { cache: "no-store" });
  if (answer.ok) show(new DOMParser().parseFromString(await answer.text(), "text/html"));
}

async function loop() {
  for (;;) {
    await new Promise((done) => setTimeout(done, 1000));
    if (document.hidden) continue;
    try {
      await refresh();
    } catch {
      // The hub is away; the next round tries again.
    }
  }
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  event.preventDefault();
  const fields = new URLSearchParams(new FormData(form, event.submitter));
  try {
    const answer = await fetch(form.action, { method: "POST", body: fields });
    said.textContent = answer.ok ? "" : await answer.text();
    if (answer.ok) {
      for (const input of form.querySelectorAll('input[name="body"]:not([type="hidden"])')) input.value = "";
    }
    await refresh();
  } catch (error) {
    said.textContent = String(error);
  }
});

for (const thread of document.querySelectorAll("[data-bottom]")) thread.scrollTop = thread.scrollHeight;
loop();
