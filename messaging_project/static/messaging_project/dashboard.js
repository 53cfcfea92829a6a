// Keeps the dashboard up to date: its HTML is fetched every 10 s while somebody looks, and replaced in one step.
"use strict";

const EVERY_MS = 10_000;
const dashboard = document.getElementById("dashboard");
const stale = document.getElementById("dashboard-stale");
let fetchedAt = Date.now();

async function refresh() {
    if (document.hidden || Date.now() - fetchedAt < EVERY_MS) {
        return;
    }
    fetchedAt = Date.now();
    try {
        const answer = await fetch(dashboard.dataset.url);
        if (!answer.ok || answer.redirected) { // redirected to the login: the session is over
            throw new Error(answer.status);
        }
        show(await answer.text());
        stale.hidden = true;
    } catch {
        stale.hidden = false;
    }
}

function show(html) {
    const focused = dashboard.contains(document.activeElement) && document.activeElement.getAttribute("href");
    dashboard.innerHTML = html;
    if (focused) {
        dashboard.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    }
}

setInterval(refresh, 1000);
