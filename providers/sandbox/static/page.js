// What is shown follows the address of the page: #phone/<number>/<number of ours> or #mailbox/<address>/<id of a mail>.

import { listenToCompose } from "./compose.js";
import { listenToControls, refreshControls } from "./controls.js";
import { byId, say } from "./dom.js";
import { listenToMailbox, refreshMailbox, showMailbox } from "./mailbox.js";
import { href, known, listenToPeople, refreshPeople } from "./people.js";
import { listenToPhone, refreshPhone, showPhone } from "./phone.js";

const EVERY_MS = 1000;
// Who has no message yet is asked to write one from here.
const FIRST_PHONE = "+15559876543";

let chosen = { kind: "", address: "", rest: "" };

function read() {
  const [kind, address = "", rest = ""] = location.hash.slice(1).split("/").map(decoded);
  return kind === "phone" || kind === "mailbox" ? { kind, address, rest } : null;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function first() {
  const person = known.people[0];
  return person ? href(person.kind, person.address) : href("phone", FIRST_PHONE);
}

function view(name) {
  document.body.dataset.view = name;
  for (const button of document.querySelectorAll(".views button")) {
    button.ariaPressed = String(button.dataset.view === name);
  }
  // The link that led here may have gone with its part of the page.
  const focused = document.activeElement;
  if (focused && focused !== document.body && !focused.offsetParent) byId("screen").focus();
}

async function show() {
  const wanted = read();
  if (!wanted) return;
  chosen = wanted;
  byId("phone").hidden = chosen.kind !== "phone";
  byId("mailbox").hidden = chosen.kind !== "mailbox";
  await (chosen.kind === "phone" ? showPhone : showMailbox)(chosen.address, chosen.rest);
  await refreshPeople(chosen);
}

async function look() {
  await refreshPeople(chosen);
  if (chosen.kind) await (chosen.kind === "phone" ? refreshPhone : refreshMailbox)();
  await refreshControls();
}

let isAway = false;

async function trying(work) {
  try {
    await work();
    if (isAway) say("The sandbox answers again.");
    isAway = false;
  } catch (problem) {
    if (!isAway) say(problem.message, true);
    isAway = true;
  }
}

async function again() {
  if (!document.hidden) await trying(look);
  setTimeout(again, EVERY_MS);
}

async function begin() {
  for (const listen of [listenToPhone, listenToMailbox, listenToControls, listenToCompose]) listen();
  listenToPeople(() => trying(() => refreshPeople(chosen)));
  for (const button of document.querySelectorAll(".views button")) {
    button.addEventListener("click", () => view(button.dataset.view));
  }
  await trying(look);
  const isNew = known.people.length === 0;
  view(read() || isNew ? "screen" : "people");
  if (!read()) history.replaceState(null, "", first());
  await trying(show);
  window.addEventListener("hashchange", () => { if (read()) view("screen"); trying(show); });
  again();
}

begin();
