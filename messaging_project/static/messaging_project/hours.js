// The hours that a field for a time offers, of 24 as all times here.
"use strict";

if (window.DateTimeShortcuts) {
  const hours = [0, 6, 12, 18].map((hour) => [`${String(hour).padStart(2, "0")}:00`, hour]);
  window.DateTimeShortcuts.clockHours.default_ = [["Now", -1], ...hours];
}
