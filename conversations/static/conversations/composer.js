// Where staff write: drafts outlive the page, the price of a text is counted by the server, a form is sent once.
"use strict";

const composer = document.getElementById("composer");
const problem = document.getElementById("problem");

function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((each) => each.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

// --- Drafts -----------------------------------------------------------------------------------------------------

// A draft keeps the key of its form: what was sent just before a reload is not sent again after it.
class Draft {
  constructor(form) {
    this.form = form;
    this.text = form.querySelector("textarea");
    this.name = `${form.id}-${document.getElementById("conversation").dataset.key}`;
  }

  restore() {
    const kept = Drafts.get(this.name);
    if (kept && !this.text.value) {
      this.text.value = kept.text;
      this.form.elements.key.value = kept.key;
    }
  }

  keep() {
    if (this.text.value) {
      Drafts.set(this.name, {text: this.text.value, key: this.form.elements.key.value});
    } else {
      Drafts.remove(this.name);
    }
  }

  // What was typed behind it meanwhile is the next draft.
  wasSent(text) {
    this.text.value = this.text.value.startsWith(text) ? this.text.value.slice(text.length) : this.text.value;
    this.renew();
  }

  renew() {
    this.form.elements.key.value = newKey();
    this.keep();
  }
}

// --- Sending ----------------------------------------------------------------------------------------------------

// A file by what tells it from another; where none was chosen there is an empty one, made at that moment.
function written(value) {
  if (!(value instanceof File)) {
    return value;
  }
  return value.name ? `${value.name} ${value.size} ${value.lastModified}` : "";
}

// `after` is called when it was sent, and returns where one goes on: a button that is disabled loses the focus. Returned
// is what to call when `isRefused` may have changed.
function sends(form, after, isRefused = () => false) {
  const draft = new Draft(form);
  const button = form.querySelector("[type=submit]");
  const progress = form.querySelector("progress");
  const files = form.elements.files;
  let sent = null;
  let busy = false;

  function allow() {
    button.disabled = busy || isRefused();
    if (files) {
      files.disabled = busy;
      progress.hidden = !busy || !files.files.length;
    }
  }

  function isBusy(now) {
    busy = now;
    allow();
  }

  async function send() {
    if (busy) {
      return;
    }
    if (isRefused()) {
      problem.textContent = "They have opted out: nothing is sent to them. What you wrote is kept.";
      return;
    }
    problem.textContent = "";
    // What was refused, changed, is another message; what got no answer has to stay the same.
    const body = new FormData(form);
    let next = document.activeElement;
    isBusy(true);
    const content = [...body.values()].slice(2).map(written).join("\n");
    const text = draft.text.value;
    if (sent !== null && sent !== content) {
      form.elements.key.value = newKey();
      body.set("key", form.elements.key.value);
    }
    sent = content;
    draft.keep();
    try {
      const answer = await fetch(form.action, {method: "POST", body, headers: {Accept: "application/json"}});
      const isAnswer = answer.headers.get("Content-Type")?.startsWith("application/json");
      if (answer.redirected || (answer.status === 403 && !isAnswer)) {
        throw new Error("You may not send any more, or are logged out. What you wrote is kept.");
      }
      const {errors, url} = await answer.json();
      if (errors.length) {
        // Nothing was made: under its key another tab may have sent something else.
        draft.renew();
        throw new Error(errors.join(" "));
      }
      draft.wasSent(text);
      sent = null;
      if (url !== location.pathname) {
        location = url;
      }
      next = after();
      await poll();
      toEnd();
    } catch (error) {
      problem.textContent = error instanceof TypeError || error instanceof SyntaxError
        ? "Nobody answered. Send it once more: it goes out once." : error.message;
    } finally {
      isBusy(false);
      if (document.activeElement === document.body || form.contains(document.activeElement)) {
        next.focus({preventScroll: true});
      }
    }
  }

  draft.restore();
  draft.text.addEventListener("input", () => draft.keep());
  draft.text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  return allow;
}

// --- Who opted out ----------------------------------------------------------------------------------------------

function isOptedOut() {
  return "optedOut" in document.getElementById("head").dataset;
}

// Somebody opts out, or is let back in, while the page is open: what was written stays.
function heedsOptOut(form, allow) {
  const hint = document.getElementById("reply-hint");
  const usual = hint.textContent;
  let refused = false;

  function heed() {
    if (refused !== isOptedOut()) {
      refused = isOptedOut();
      form.classList.toggle("sb-refused", refused);
      hint.textContent = refused ? "Opted out: nothing is sent" : usual;
      problem.textContent = "";
      allow();
    }
  }

  conversation.addEventListener("headchange", heed);
  heed();
}

// --- What a text costs ------------------------------------------------------------------------------------------

function priced(text, files) {
  const count = document.getElementById("count");
  let waiting = null;
  let asked = 0;

  function words(answer) {
    const plural = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
    const sentence = `${plural(answer.characters, "character")}, ${plural(answer.segments, "segment")} (${answer.encoding})`;
    if (!answer.ucs2_characters.length) {
      return sentence;
    }
    const named = answer.ucs2_characters.map((each) => `${each.character} ${each.name}`).join(", ");
    const more = answer.others ? ` and ${answer.others} more` : "";
    return `${sentence}. Shorter segments because of: ${named}${more}`;
  }

  async function ask() {
    const number = ++asked;
    if (!text.value || files.files.length) {
      count.textContent = "";
      return;
    }
    const form = new FormData();
    form.set("body", text.value);
    const answer = await post(composer.dataset.preview, form).catch(() => null);
    if (answer?.ok && !answer.redirected && number === asked) {
      const found = await answer.json();
      count.textContent = words(found);
      count.classList.toggle("sb-costly", found.ucs2_characters.length > 0);
    }
  }

  text.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(ask, 250);
  });
  ask();
  return ask;
}

const replyForm = document.getElementById("reply");
const noteForm = document.getElementById("note");
if (noteForm) {
  const fold = noteForm.closest("details");
  sends(noteForm, () => {
    fold.open = false;
    return fold.querySelector("summary");
  });
}
if (replyForm) {
  const isMail = "email" in composer.dataset;
  const text = replyForm.querySelector("textarea");
  let recount = () => {};
  const forgetFiles = takesFiles(replyForm, () => recount());
  const allow = sends(replyForm, () => {
    forgetFiles();
    recount();
    return text;
  }, isOptedOut);
  heedsOptOut(replyForm, allow);
  if (!isMail) {
    recount = priced(text, replyForm.elements.files);
  }
  text.focus({preventScroll: true});
}
