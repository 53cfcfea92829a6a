// Building what is shown. Whatever people wrote goes in as text, never as HTML.

export const byId = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const { data = {}, ...rest } = properties;
  const node = Object.assign(document.createElement(tag), rest);
  Object.assign(node.dataset, data);
  node.append(...children);
  return node;
}

// What is left of a text once a part was sent: what was typed behind it meanwhile.
export const without = (sent, text) => (text.startsWith(sent) ? text.slice(sent.length) : text);

// Bring the children of a list in line with rows that have a key. What stays the same is left alone, so that focus,
// selection and screen readers are not disturbed; `update` mends a node in place, without it a new one is built.
const shown = new WeakMap();

export function reconcile(list, rows, build, update) {
  const focused = document.activeElement?.closest("[data-key]");
  const key = list.contains(focused) ? focused.dataset.key : null;
  const old = new Map([...list.children].map((node) => [node.dataset.key, node]));
  rows.forEach((row, index) => {
    const node = current(old.get(row.key), row, build, update);
    old.delete(row.key);
    if (list.children[index] !== node) list.insertBefore(node, list.children[index] ?? null);
  });
  old.forEach((node) => node.remove());
  if (key && !list.contains(document.activeElement)) {
    const again = [...list.children].find((node) => node.dataset.key === key);
    (again?.querySelector("a, button, input") ?? again)?.focus();
  }
}

function current(node, row, build, update) {
  const text = JSON.stringify(row);
  if (node && shown.get(node) === text) return node;
  if (node && update) {
    update(node, row);
  } else {
    const fresh = build(row);
    fresh.dataset.key = row.key;
    node?.replaceWith(fresh);
    node = fresh;
  }
  shown.set(node, text);
  return node;
}

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const SHORT_DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const EXACT = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium", hourCycle: "h23" });

export const clock = (at) => CLOCK.format(new Date(at));
export const exact = (at) => EXACT.format(new Date(at));

export function day(at) {
  const date = new Date(at);
  return isToday(date) ? "Today" : DAY.format(date);
}

export function when(at) {
  const date = new Date(at);
  return isToday(date) ? CLOCK.format(date) : SHORT_DAY.format(date);
}

const isToday = (date) => date.toDateString() === new Date().toDateString();

let clearing;

export function say(sentence, isProblem = false) {
  const place = byId("say");
  place.textContent = sentence;
  place.classList.toggle("problem", isProblem);
  clearTimeout(clearing);
  clearing = setTimeout(() => { place.textContent = ""; }, isProblem ? 12000 : 6000);
}
