// An open conversation: what is new appears by itself, what was seen is marked as read, timelines load when asked for.
"use strict";

const conversation = document.getElementById("conversation");
const entries = () => document.getElementById("entries");
const POLL_MS = 2000;
let etag = conversation.dataset.state;
let polling = false;

// --- Days and times ---------------------------------------------------------------------------------------------

function drawDays() {
  for (const day of entries().querySelectorAll(".sb-day")) {
    day.remove();
  }
  let last = "";
  for (const entry of entries().querySelectorAll(".sb-entry")) {
    const day = Times.day(new Date(entry.dataset.at));
    if (day !== last) {
      const line = document.createElement("li");
      const words = document.createElement("span");
      line.className = "sb-day";
      words.textContent = day;
      line.append(words);
      entry.before(line);
      last = day;
    }
  }
}

function redraw() {
  drawDays();
  Times.show(conversation);
}

// --- What is new ------------------------------------------------------------------------------------------------

function parsed(html) {
  return new DOMParser().parseFromString(html, "text/html");
}

function isAtEnd() {
  return window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 120;
}

function toEnd() {
  window.scrollTo({top: document.documentElement.scrollHeight});
}

// A status that changes must not fold away what somebody reads, nor move them away from where they are.
function replace(old, fresh) {
  const folds = fresh.querySelectorAll("details");
  old.querySelectorAll("details").forEach((fold, place) => {
    if (fold.open && folds[place]?.className === fold.className) {
      folds[place].open = true;
    }
  });
  const stops = "summary, a, button, [tabindex]";
  const place = [...old.querySelectorAll(stops)].indexOf(document.activeElement);
  old.replaceWith(fresh);
  if (place >= 0) {
    fresh.querySelectorAll(stops)[place]?.focus({preventScroll: true});
  }
}

// False where somebody is typing a title: it is asked for again when they are done.
function mergeHead(page) {
  const head = document.getElementById("head");
  const fresh = page.getElementById("head");
  if (head.querySelector("input:focus")) {
    return false;
  }
  if (head.dataset.version !== fresh.dataset.version) {
    replace(head, document.adoptNode(fresh));
    conversation.dispatchEvent(new Event("headchange"));
  }
  return true;
}

function mergeEntries(page) {
  const news = [];
  let before = null;
  document.querySelector(".sb-empty")?.remove();
  for (const fresh of page.querySelectorAll("#entries > .sb-entry")) {
    const old = document.getElementById(fresh.id);
    const entry = document.adoptNode(fresh);
    if (!old) {
      if (before) {
        before.after(entry);
      } else {
        entries().append(entry);
      }
      news.push(entry);
    } else if (old.dataset.version !== entry.dataset.version) {
      replace(old, entry);
    } else {
      before = old;
      continue;
    }
    before = entry;
  }
  return news;
}

function announce(news) {
  const inbound = news.filter((entry) => entry.classList.contains("sb-inbound"));
  if (inbound.length) {
    const words = inbound.at(-1).querySelector(".sb-text")?.textContent ?? "";
    document.getElementById("news").textContent = `New message: ${words.slice(0, 200)}`;
  }
}

function say(sentence, url) {
  const notice = document.getElementById("offline");
  notice.hidden = !sentence;
  notice.textContent = sentence;
  if (url) {
    const link = document.createElement("a");
    link.href = url;
    link.textContent = "Log in again";
    notice.append(" ", link);
  }
}

async function poll() {
  if (polling || document.hidden || !conversation.dataset.news) {
    return;
  }
  polling = true;
  try {
    const answer = await fetch(conversation.dataset.news, {headers: {"If-None-Match": etag}, cache: "no-store"});
    if (answer.redirected || answer.status === 403) {
      say("You are logged out: what is new is not shown any more. What you wrote is kept.", conversation.dataset.login);
      return;
    }
    say("");
    if (answer.status === 200) {
      etag = show(await answer.text()) ? answer.headers.get("ETag") : "";
    } else if (answer.status !== 304) {
      say("The server does not answer as it should. It is asked again every few seconds.");
    }
  } catch {
    say("The server can't be reached. It is asked again every few seconds.");
  } finally {
    polling = false;
  }
}

// More came than a page holds while nobody looked: below what is shown there would be a gap. Drafts outlive a reload.
function hasGap(page) {
  const fresh = [...page.querySelectorAll("#entries > .sb-entry[data-id]")];
  const known = entries().querySelector(".sb-entry[data-id]");
  return known && fresh.length > 0 && !fresh.some((entry) => document.getElementById(entry.id));
}

function show(html) {
  const page = parsed(html);
  if (hasGap(page)) {
    location.reload();
    return false;
  }
  const wasAtEnd = isAtEnd();
  const isWhole = mergeHead(page);
  const news = mergeEntries(page);
  redraw();
  announce(news);
  if (news.length && wasAtEnd) {
    toEnd();
  }
  markRead();
  return isWhole;
}

// --- Read -------------------------------------------------------------------------------------------------------

function post(url, form) {
  form.set("csrfmiddlewaretoken", document.querySelector("[name=csrfmiddlewaretoken]").value);
  return fetch(url, {method: "POST", body: form, headers: {Accept: "application/json"}});
}

// Not again where it was marked as read already: somebody else may have marked it as unread meanwhile.
let seen = "";
async function markRead() {
  const newest = [...entries().querySelectorAll(".sb-entry[data-id]")].at(-1)?.dataset.id;
  const unread = Number(document.getElementById("head").dataset.unread);
  if (!conversation.dataset.read || !conversation.dataset.news || document.hidden || !unread || newest === seen) {
    return;
  }
  seen = newest;
  const form = new FormData();
  form.set("seen", newest ?? "");
  await post(conversation.dataset.read, form).catch(() => { seen = ""; });
}

// --- Forms, timelines, older messages ---------------------------------------------------------------------------

// Beside the button, where it stays: the line on how the server does is wiped by its next answer.
function complain(form, sentence) {
  let place = form.querySelector("[role=alert]");
  if (!place) {
    place = document.createElement("p");
    place.className = "sb-problem";
    place.setAttribute("role", "alert");
    form.append(place);
  }
  place.textContent = sentence;
}

// The focus goes on at the button, or where it stood if it is gone.
function refocus(button, place) {
  if (document.activeElement === document.body) {
    const next = button.isConnected ? button : document.getElementById(place)?.querySelector("summary, button");
    next?.focus({preventScroll: true});
  }
}

async function postQuietly(form) {
  const button = form.querySelector("button");
  const place = form.closest("[id]").id;
  button.disabled = true;
  try {
    const answer = await post(form.action, new FormData(form));
    const {errors} = await answer.json();
    complain(form, errors.join(" "));
    document.activeElement?.blur();
    if (conversation.dataset.news) {
      await poll();
    } else if (!errors.length) {
      location.reload();
    }
  } catch {
    complain(form, "That could not be sent. Try again.");
  } finally {
    button.disabled = false;
    refocus(button, place);
  }
}

document.addEventListener("submit", (event) => {
  if (event.target.matches("form[data-quiet]")) {
    event.preventDefault();
    postQuietly(event.target);
  }
});

async function loadTimeline(timeline) {
  const answer = await fetch(timeline.dataset.url, {cache: "no-store"}).catch(() => null);
  if (answer?.ok && !answer.redirected) {
    timeline.querySelector("div").replaceChildren(...document.adoptNode(parsed(await answer.text()).body).childNodes);
    Times.show(timeline);
    timeline.scrollIntoView({block: "nearest"});
  }
}

document.addEventListener("toggle", (event) => {
  if (event.target.matches(".sb-timeline[open]")) {
    loadTimeline(event.target);
  }
}, true);

async function loadOlder(link) {
  const answer = await fetch(link.href);
  if (!answer.ok || answer.redirected) {
    location = link.href;
    return;
  }
  const page = parsed(await answer.text());
  const height = document.documentElement.scrollHeight;
  entries().prepend(...[...page.querySelectorAll("#entries > .sb-entry")].map((each) => document.adoptNode(each)));
  const next = page.getElementById("older");
  if (next) {
    link.href = next.getAttribute("href");
  } else {
    link.parentElement.remove();
  }
  redraw();
  window.scrollBy(0, document.documentElement.scrollHeight - height);
}

document.addEventListener("click", (event) => {
  if (event.target.id === "older" && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    loadOlder(event.target);
  }
});

redraw();
if (conversation.dataset.news) {
  toEnd();
  markRead();
  setInterval(poll, POLL_MS);
  document.addEventListener("visibilitychange", () => { markRead(); poll(); });
}
