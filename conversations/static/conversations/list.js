// The list keeps up with what comes in, while somebody looks at it and has chosen nothing in it.
"use strict";

const state = document.querySelector("meta[name=list-state]");
const POLL_MS = 3000;
let known = state.content;
let asking = false;

function isInUse(form) {
  return Boolean(form.querySelector("input.action-select:checked") || form.elements.action?.value);
}

function replace(form, fresh) {
  const focused = form.contains(document.activeElement) && document.activeElement.getAttribute("href");
  form.replaceWith(document.adoptNode(fresh));
  window.Actions?.(fresh.querySelectorAll("tr input.action-select"));
  Times.show(fresh);
  if (focused) {
    fresh.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus({preventScroll: true});
  }
}

async function get(url) {
  const answer = await fetch(url, {cache: "no-store"});
  if (!answer.ok || answer.redirected) {
    throw new Error(answer.status);
  }
  return answer.text();
}

async function keepUp() {
  const form = document.getElementById("changelist-form");
  if (asking || document.hidden || !form || isInUse(form)) {
    return;
  }
  asking = true;
  try {
    const now = await get(state.dataset.url);
    if (now !== known) {
      const fresh = new DOMParser().parseFromString(await get(location.href), "text/html").getElementById("changelist-form");
      if (fresh && !isInUse(form)) {
        replace(form, fresh);
        known = now;
      }
    }
  } catch {
    // Asked again in a moment; a click says what is the matter.
  } finally {
    asking = false;
  }
}

setInterval(keepUp, POLL_MS);
document.addEventListener("visibilitychange", keepUp);
