// Asking the sandbox. A refusal becomes an Error with the sandbox's own sentence.

export const get = (path, query = {}) => ask("GET", `${path}?${new URLSearchParams(query)}`);
export const post = (path, body) => ask("POST", path, body);
export const remove = (path) => ask("DELETE", path);

async function ask(method, path, body) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Error("The sandbox does not answer. Is it still running?");
  }
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(told.detail ?? `The sandbox answered ${answer.status}.`);
  return told;
}

// The messages of one phone or mailbox, newest last: the newest page is asked for again and again, earlier ones once.
export class Pages {
  constructor(query) {
    this.query = query;
    this.rows = [];
    this.more = false;
  }

  async refresh() {
    const page = await get("/messages", this.query);
    const fresh = page.messages.reverse();
    const known = this.rows.findIndex((row) => row.id === fresh[0]?.id);
    // More came at once than a page holds: what was known before would leave a gap.
    if (known < 0) this.more = page.more;
    this.rows = known < 0 ? fresh : [...this.rows.slice(0, known), ...fresh];
  }

  async earlier() {
    const page = await get("/messages", { ...this.query, before: this.rows[0].id });
    this.rows = [...page.messages.reverse(), ...this.rows];
    this.more = page.more;
  }
}
