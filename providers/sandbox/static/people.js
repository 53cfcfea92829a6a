// The list of people, by last activity.

import { get } from "./ask.js";
import { byId, exact, make, reconcile, when } from "./dom.js";

const STEP = 50;
let limit = STEP;

export const known = { people: [], ours: { phone: [], mailbox: [] } };

export const href = (kind, address, rest = "") =>
  `#${kind}/${encodeURIComponent(address)}${rest && `/${encodeURIComponent(rest)}`}`;

export async function refreshPeople(chosen) {
  const search = byId("search").value;
  const told = await get("/people", { limit, search });
  Object.assign(known, { people: told.people, ours: told.ours });
  byId("admin").href = told.admin;
  byId("more-people").hidden = !told.more;
  byId("nobody").hidden = told.people.length > 0 || search !== "";
  const rows = told.people.map((person) => ({
    ...person,
    key: `${person.kind} ${person.address}`,
    chosen: person.kind === chosen.kind && person.address === chosen.address,
  }));
  reconcile(byId("people-list"), rows, line);
}

function line(person) {
  const link = make("a", { href: href(person.kind, person.address) });
  if (person.chosen) link.setAttribute("aria-current", "page");
  const who = person.last.direction === "inbound" ? "You: " : "";
  link.append(
    make("span", { className: `avatar ${person.kind}`, ariaHidden: "true" }, person.kind === "phone" ? "☏" : "✉"),
    make("b", {}, person.address),
    make("span", { className: "preview" }, who + person.last.text),
    make("time", { dateTime: person.last.at, title: exact(person.last.at) }, when(person.last.at)),
  );
  return make("li", {}, link);
}

export function listenToPeople(refresh) {
  byId("search").addEventListener("input", () => { limit = STEP; refresh(); });
  byId("more-people").addEventListener("click", () => { limit = Math.min(limit + STEP, 500); refresh(); });
}
