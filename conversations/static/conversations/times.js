// Times in the reader's own zone and words, of 24 hours as everywhere here, and "2 min ago" as it moves on.
"use strict";

const Times = {
  ago(at) {
    const seconds = (Date.now() - at) / 1000;
    if (seconds >= 7 * 86400) {
      return at.toLocaleDateString([], {day: "numeric", month: "short", year: "numeric"});
    }
    for (const [size, word] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
      if (seconds >= size) {
        return `${Math.floor(seconds / size)} ${word} ago`;
      }
    }
    return "just now";
  },

  day(at) {
    return at.toLocaleDateString([], {weekday: "long", day: "numeric", month: "long", year: "numeric"});
  },

  show(root) {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      const exact = at.toLocaleString([], {dateStyle: "medium", timeStyle: "medium", hourCycle: "h23"});
      if (time.classList.contains("sb-ago")) {
        time.textContent = Times.ago(at);
        time.title = exact;
      } else if (time.classList.contains("sb-clock")) {
        time.textContent = at.toLocaleTimeString([], {hour: "2-digit", minute: "2-digit", hourCycle: "h23"});
        time.title = exact;
      } else {
        time.textContent = exact;
      }
    }
  },
};

Times.show(document);
setInterval(() => Times.show(document), 30000);
