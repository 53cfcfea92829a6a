// The dial: which faults the next messages meet, and how answers and callbacks travel.

import { get, post, remove } from "./ask.js";
import { byId, make, reconcile, say } from "./dom.js";

const WHOSE = { twilio: "texts", sendgrid: "mails" };

const plain = (name) => name.replaceAll("_", " ");

export async function refreshControls() {
  draw(await get("/controls"));
}

function draw({ faults, waiting, dials }) {
  reconcile(byId("fault-list"), faults.map((each) => ({ ...each, key: each.fault })), fault);
  reconcile(byId("waiting"), waiting.map((each, index) => ({ ...each, key: String(index) })), wait);
  reconcile(byId("dials"), dials.map((each) => ({ ...each, key: each.name })), dial, turn);
  const turned = dials.filter((each) => each.value !== each.first).length;
  const count = waiting.reduce((sum, each) => sum + each.count, 0);
  byId("none-waiting").hidden = count > 0;
  byId("waiting").hidden = count === 0;
  byId("normal").disabled = count + turned === 0;
  const mood = byId("mood");
  mood.classList.toggle("trouble", count + turned > 0);
  const words = [
    count && `${count} ${count > 1 ? "faults wait" : "fault waits"}`,
    turned && `${turned} ${turned > 1 ? "dials" : "dial"} turned`,
  ];
  const sentence = words.filter(Boolean).join(", ") || "All is normal";
  if (mood.textContent !== sentence) mood.textContent = sentence;
}

function fault({ fault: name, what }) {
  const button = make("button", { type: "button" }, make("code", {}, plain(name)), make("span", {}, what));
  button.addEventListener("click", () => order(name));
  return make("li", {}, button);
}

function wait({ provider, fault: name, count }) {
  return make("li", {}, `${count} × `, make("code", {}, plain(name)), ` for ${WHOSE[provider]}`);
}

function dial(row) {
  const input = make("input", { type: "number", id: `dial-${row.name}`, min: 0, max: row.largest, required: true });
  input.addEventListener("change", () => change({ [row.name]: input.valueAsNumber }));
  const node = make("li", {}, make("label", { htmlFor: input.id }, row.what), input);
  turn(node, row);
  return node;
}

function turn(node, row) {
  const input = node.querySelector("input");
  node.classList.toggle("turned", row.value !== row.first);
  input.title = `${row.first} at the start, at most ${row.largest}`;
  if (document.activeElement !== input) input.value = row.value;
}

async function order(name) {
  const form = byId("order");
  if (!form.reportValidity()) return;
  const wish = { provider: form.elements.provider.value, fault: name, count: byId("count").valueAsNumber };
  const sentence = `${wish.count} × ${plain(name)} for the next ${WHOSE[wish.provider]}.`;
  await doing(() => post("/faults", wish), sentence);
}

const change = (dials) => doing(() => post("/settings", dials), "Turned.");

async function doing(work, sentence) {
  try {
    await work();
    say(sentence);
    await refreshControls();
  } catch (problem) {
    say(problem.message, true);
  }
}

export function listenToControls() {
  byId("order").addEventListener("submit", (event) => event.preventDefault());
  byId("normal").addEventListener("click", () =>
    doing(() => Promise.all([remove("/faults"), remove("/settings")]), "Everything is as it was at the start."));
}
