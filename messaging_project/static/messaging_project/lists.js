// A list that is wider than its place is scrolled with the arrow keys as well: Tab stops at it, while it is.
"use strict";

const place = document.querySelector("#changelist .results");
if (place) {
  new ResizeObserver(() => {
    const isWider = place.scrollWidth > place.clientWidth;
    for (const [name, value] of [["tabindex", "0"], ["role", "region"], ["aria-label", "The list, which scrolls sideways"]]) {
      if (isWider) {
        place.setAttribute(name, value);
      } else {
        place.removeAttribute(name);
      }
    }
  }).observe(place);
}
