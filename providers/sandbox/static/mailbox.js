// One mailbox: its mails, the opened one, and the box to answer it.

import { Pages, get, post } from "./ask.js";
import { byId, exact, make, reconcile, say, when, without } from "./dom.js";
import { href } from "./people.js";

const STATUS = {
  processed: "on its way", delivered: "delivered", bounce: "bounced", dropped: "dropped",
  sending: "sending", taken: "sent", lost: "lost on its way", refused: "not taken by Switchboard",
};
const TROUBLE = new Set(["bounce", "dropped", "lost", "refused"]);

const drafts = new Map();
let address = "";
let wanted = "";
let opened = null;
let pages = new Pages({});

export async function showMailbox(theirs, id) {
  if (opened) drafts.set(opened.id, byId("answer-body").value);
  if (theirs !== address) {
    pages = new Pages({ mailbox: theirs });
    byId("mails").replaceChildren();
  }
  address = theirs;
  wanted = id;
  byId("mailbox-title").textContent = address;
  byId("back").href = href("mailbox", address);
  byId("mailbox").classList.toggle("reading", Boolean(id));
  opened = null;
  byId("opened").hidden = true;
  await refreshMailbox();
}

export async function refreshMailbox() {
  const asked = pages;
  await asked.refresh();
  if (asked !== pages) return;
  // Where both fit beside each other, there is always one open.
  const newest = matchMedia("(min-width: 900px)").matches ? pages.rows.at(-1)?.id : "";
  const id = wanted || opened?.id || newest;
  if (id && id !== opened?.id) await open(id);
  draw();
}

function draw() {
  byId("no-mail").hidden = pages.rows.length > 0;
  byId("earlier-mails").hidden = !pages.more;
  const rows = pages.rows.toReversed().map((row) => ({ ...row, key: row.id, chosen: row.id === opened?.id }));
  reconcile(byId("mails"), rows, line);
  const now = pages.rows.find((row) => row.id === opened?.id);
  if (now) drawStatus(now);
}

function line(row) {
  const link = make("a", { href: href("mailbox", address, row.id) });
  if (row.chosen) link.setAttribute("aria-current", "true");
  link.append(
    make("b", {}, row.direction === "inbound" ? `To ${row.to}` : row.from),
    make("span", { className: "subject" }, row.subject || "(no subject)"),
    make("span", { className: "preview" }, row.preview),
    make("time", { dateTime: row.at, title: exact(row.at) }, when(row.at)),
  );
  return make("li", { className: row.direction === "inbound" ? "mine" : "" }, link);
}

async function open(id) {
  const asked = pages;
  const mail = await get(`/messages/${encodeURIComponent(id)}`, { mailbox: address });
  // Another one was asked for meanwhile.
  if (asked !== pages || (wanted && wanted !== id)) return;
  opened = mail;
  byId("opened").hidden = false;
  byId("subject").textContent = opened.subject || "(no subject)";
  byId("from").textContent = opened.from;
  byId("to").textContent = opened.to;
  byId("date").textContent = exact(opened.at);
  byId("answer-to").textContent = opened.answer_to;
  byId("answer-body").value = drafts.get(id) ?? "";
  byId("files").replaceChildren(...opened.attachments.map((name) => make("li", {}, name)));
  byId("as").hidden = !opened.has_html;
  showAs(opened.has_html ? "html" : "text");
}

function drawStatus(row) {
  const status = byId("mail-status");
  status.className = TROUBLE.has(row.status) ? "tag trouble" : "tag";
  status.textContent = STATUS[row.status] + (row.reason ? `: ${row.reason}` : "");
}

function showAs(kind) {
  byId("html").hidden = kind !== "html";
  byId("plain").hidden = kind === "html";
  byId("html").src = kind === "html" ? `/messages/${encodeURIComponent(opened.id)}/html` : "about:blank";
  byId("plain").textContent = opened.text || "This mail has no text, only HTML.";
  for (const button of byId("as").querySelectorAll("button")) button.ariaPressed = String(button.dataset.as === kind);
}

let isSending = false;

async function answer() {
  const body = byId("answer-body").value;
  if (isSending || !body.trim()) return;
  isSending = true;
  const { id } = opened;
  try {
    await post("/inbound", {
      type: "email",
      from: address,
      to: opened.answer_to,
      subject: /^re:/i.test(opened.subject) ? opened.subject : `Re: ${opened.subject}`,
      body: byId("quote").checked ? body + quoted() : body,
      in_reply_to: opened.message_id,
      references: [...new Set([...opened.references, opened.message_id])],
    });
    drafts.delete(id);
    if (opened?.id === id) byId("answer-body").value = without(body, byId("answer-body").value);
    say("Your answer is on its way.");
    await refreshMailbox();
  } catch (problem) {
    say(problem.message, true);
  } finally {
    isSending = false;
  }
}

function quoted() {
  const lines = opened.text.trimEnd().split("\n").map((each) => `> ${each}`);
  return `\n\nOn ${exact(opened.at)}, ${opened.from} wrote:\n${lines.join("\n")}\n`;
}

export function listenToMailbox() {
  const earlier = () => pages.earlier().then(draw, (problem) => say(problem.message, true));
  byId("earlier-mails").addEventListener("click", earlier);
  for (const button of byId("as").querySelectorAll("button")) {
    button.addEventListener("click", () => showAs(button.dataset.as));
  }
  byId("answer").addEventListener("submit", (event) => { event.preventDefault(); answer(); });
  byId("answer-body").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) answer();
  });
}
