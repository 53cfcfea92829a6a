// What was typed and not sent outlives the page, and a session that ran out, but not its author's logout: in this
// browser drafts belong to one person, and are gone as soon as somebody else, or nobody, is logged in here.
"use strict";

const Drafts = {
  author: document.querySelector("meta[name=drafts-of]")?.content,

  get(name) {
    try {
      return JSON.parse(localStorage.getItem(`draft-${name}`));
    } catch {
      return null; // A browser that keeps nothing still sends.
    }
  },

  // Not from a page that was left open when its author logged out in another.
  set(name, draft) {
    try {
      if (localStorage.getItem("drafts-of") === Drafts.author) {
        localStorage.setItem(`draft-${name}`, JSON.stringify(draft));
      }
    } catch {
      // As above.
    }
  },

  remove(name) {
    try {
      localStorage.removeItem(`draft-${name}`);
    } catch {
      // As above.
    }
  },

  takeOver() {
    try {
      if (Drafts.author === undefined || localStorage.getItem("drafts-of") === Drafts.author) {
        return;
      }
      for (const name of Object.keys(localStorage).filter((each) => each.startsWith("draft-"))) {
        localStorage.removeItem(name);
      }
      localStorage.setItem("drafts-of", Drafts.author);
    } catch {
      // As above.
    }
  },
};

Drafts.takeOver();
