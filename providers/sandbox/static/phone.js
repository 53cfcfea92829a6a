// One phone: the texts between it and one of our numbers, and the box to answer.

import { Pages, post } from "./ask.js";
import { byId, clock, day, exact, make, reconcile, say, without } from "./dom.js";
import { href, known } from "./people.js";

const STATUS = {
  queued: "on its way", sent: "on its way", delivered: "delivered", undelivered: "not delivered",
  sending: "sending", taken: "sent", lost: "lost on its way", refused: "not taken by Switchboard",
};
const TROUBLE = new Set(["undelivered", "lost", "refused"]);
const PICTURES = /^image\/(png|jpeg|gif|webp|avif|bmp)$/;
const MOST_BYTES = 5 * 1024 * 1024;
const AFTER = {
  STOP: "STOP: Switchboard sends this phone nothing more from that number until it says START.",
  START: "START: this phone takes texts again.",
  HELP: "HELP is for a person to answer: Switchboard answers no word by itself.",
};

const drafts = new Map();
let address = "";
let ours = "";
let pages = new Pages({});
let isAtEnd = true;

export async function showPhone(theirs, number) {
  drafts.set(`${address} ${ours}`, byId("body").value);
  const lines = known.people.find((each) => each.kind === "phone" && each.address === theirs)?.with ?? [];
  address = theirs;
  ours = number || lines[0] || known.ours.phone[0] || "+15551234567";
  pages = new Pages({ phone: address, with: ours });
  byId("body").value = drafts.get(`${address} ${ours}`) ?? "";
  byId("whose").textContent = `on the phone of ${address}`;
  byId("log").replaceChildren();
  grow();
  await refreshPhone();
  toTheEnd();
}

export async function refreshPhone() {
  const asked = pages;
  await asked.refresh();
  if (asked === pages) draw();
}

function draw() {
  byId("clock").textContent = clock(Date.now());
  byId("earlier").hidden = !pages.more;
  byId("empty").hidden = pages.rows.length > 0;
  byId("empty").textContent =
    `Nothing here yet. Write a text to ${ours}: it comes in as if a person had sent it. Answer it in the admin, `
    + "and the answer appears here.";
  drawLines();
  reconcile(byId("log"), withDays(pages.rows), bubble, (node, row) => row.id && setStatus(node, row));
}

function drawLines() {
  const lines = known.people.find((each) => each.kind === "phone" && each.address === address)?.with ?? [];
  const rows = [...new Set([...lines, ours])].map((number) => ({ key: number || "-", number }));
  const select = byId("ours");
  select.disabled = rows.length < 2;
  reconcile(select, rows, ({ number }) => make("option", { value: number }, number || "a messaging service"));
  select.value = ours;
}

function withDays(rows) {
  const all = [];
  let last = "";
  for (const row of rows) {
    const today = day(row.at);
    if (today !== last) all.push({ key: `day ${today}`, day: today });
    last = today;
    all.push({ ...row, key: row.id });
  }
  return all;
}

function bubble(row) {
  if (row.day) return make("li", { className: "day" }, row.day);
  const theirs = row.direction === "inbound";
  const node = make("li", { className: theirs ? "mine" : "" });
  const who = make("span", { className: "hidden" }, theirs ? "You: " : `${row.from}: `);
  const content = make("div", { className: "bubble" }, who, ...row.media.map(medium));
  if (row.body) content.append(make("p", {}, row.body));
  node.append(content, make("small", { title: exact(row.at) }));
  setStatus(node, row);
  return node;
}

function setStatus(node, row) {
  const words = STATUS[row.status] + (row.error_code ? `, error ${row.error_code}` : "");
  node.classList.toggle("trouble", TROUBLE.has(row.status));
  node.querySelector("small").textContent = `${clock(row.at)} · ${words}`;
}

function medium({ url, content_type: type }) {
  if (url.startsWith("/") && PICTURES.test(type)) {
    return make("img", { src: url, alt: "Picture" });
  }
  const name = url.startsWith("/") ? type : hostOf(url);
  const link = make("a", { className: "medium", href: url, target: "_blank", rel: "noopener noreferrer" });
  const icon = make("span", { ariaHidden: "true" }, "🖼");
  link.append(icon, make("span", {}, `Attachment on ${name}`, make("i", {}, url)));
  return link;
}

// Browsers are stricter about URLs than what was let in.
const hostOf = (url) => (URL.canParse(url) ? new URL(url).host : "no URL");

async function send(body, file) {
  const wish = { type: file ? "mms" : "sms", from: address, to: ours, body };
  if (file) wish.attachments = [await attachment(file)];
  await post("/inbound", wish);
  await refreshPhone();
  toTheEnd();
}

async function attachment(file) {
  if (file.size > MOST_BYTES) throw new Error("The picture is larger than 5 MB, the most that an MMS carries.");
  const url = await new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = () => failed(new Error("The picture could not be read."));
    reader.readAsDataURL(file);
  });
  return { filename: file.name, content_type: file.type || "image/png", content_base64: url.split(",")[1] ?? "" };
}

let isSending = false;

async function submit() {
  const [body, file] = [byId("body").value, byId("picture").files[0]];
  if (isSending || (!body.trim() && !file)) return;
  isSending = true;
  const asked = pages;
  try {
    await send(body, file);
    if (asked === pages) byId("body").value = without(body, byId("body").value);
    else drafts.delete(`${asked.query.phone} ${asked.query.with}`);
    forgetPicture();
    grow();
  } catch (problem) {
    say(problem.message, true);
  } finally {
    isSending = false;
  }
}

function choose() {
  const file = byId("picture").files[0];
  byId("picture-chosen").hidden = !file;
  byId("picture-chosen").querySelector("span").textContent = file?.name ?? "";
}

function forgetPicture() {
  byId("picture").value = "";
  choose();
}

function grow() {
  const body = byId("body");
  body.style.height = "auto";
  body.style.height = `${Math.min(body.scrollHeight, 120)}px`;
}

function toTheEnd() {
  isAtEnd = true;
  byId("log-box").scrollTop = byId("log-box").scrollHeight;
}

// Whoever reads at the end stays there when a text comes or a picture has loaded; who reads further up is left there.
function stayAtEnd() {
  const box = byId("log-box");
  let top = 0;
  box.addEventListener("scroll", () => {
    const isNear = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    // What grows below does not scroll up: only a reader does.
    isAtEnd = isNear || (isAtEnd && box.scrollTop >= top);
    top = box.scrollTop;
  });
  new ResizeObserver(() => isAtEnd && toTheEnd()).observe(byId("log"));
  new ResizeObserver(() => isAtEnd && toTheEnd()).observe(box);
}

export function listenToPhone() {
  stayAtEnd();
  byId("ours").addEventListener("change", (event) => { location.hash = href("phone", address, event.target.value); });
  byId("earlier").addEventListener("click", () => pages.earlier().then(draw, (problem) => say(problem.message, true)));
  byId("picture").addEventListener("change", choose);
  byId("picture-chosen").querySelector("button").addEventListener("click", forgetPicture);
  byId("body").addEventListener("input", grow);
  byId("text").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
  byId("body").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  });
  for (const chip of document.querySelectorAll("[data-word]")) {
    const word = chip.dataset.word;
    const done = () => say(AFTER[word]);
    chip.addEventListener("click", () => send(word).then(done, (problem) => say(problem.message, true)));
  }
}
