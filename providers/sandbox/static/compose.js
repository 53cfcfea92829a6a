// A new message from anybody to one of our numbers or addresses.

import { post } from "./ask.js";
import { byId, make } from "./dom.js";
import { href, known } from "./people.js";

const FIRST = {
  sms: { kind: "phone", from: "+15559876543", to: "+15551234567" },
  email: { kind: "mailbox", from: "customer@example.com", to: "shop@example.com" },
};

const type = () => document.querySelector("#compose [name=type]:checked").value;

function prefill() {
  const { kind, from, to } = FIRST[type()];
  const ours = known.ours[kind];
  byId("compose-from").value = from;
  byId("compose-to").value = ours[0] ?? to;
  byId("ours-list").replaceChildren(...ours.map((value) => make("option", { value })));
  byId("compose-subject-box").hidden = kind === "phone";
  byId("compose-problem").textContent = "";
}

const plain = (text) => (type() === "sms" ? text.replace(/[\s().-]/g, "") : text.trim());

async function send() {
  const [kind, from, to] = [FIRST[type()].kind, plain(byId("compose-from").value), plain(byId("compose-to").value)];
  const wish = { type: type(), from, to, body: byId("compose-body").value };
  if (kind === "mailbox") wish.subject = byId("compose-subject").value;
  await post("/inbound", wish);
  byId("compose").close();
  byId("compose-body").value = byId("compose-subject").value = "";
  location.hash = kind === "phone" ? href(kind, from, to) : href(kind, addressIn(from).toLowerCase());
}

const addressIn = (text) => /<([^<>]*)>$/.exec(text)?.[1] ?? text;

export function listenToCompose() {
  byId("write").addEventListener("click", () => { prefill(); byId("compose").showModal(); });
  byId("compose-close").addEventListener("click", () => byId("compose").close());
  for (const each of document.querySelectorAll("#compose [name=type]")) each.addEventListener("change", prefill);
  byId("compose").querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    byId("compose-send").disabled = true;
    await send().catch((problem) => { byId("compose-problem").textContent = problem.message; });
    byId("compose-send").disabled = false;
  });
}
