// Everything here is a comfort: each page works without it, by links and forms.
"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const base = document.body.dataset.base;
  const store = {
    get(name) { try { return localStorage.getItem(`valhalla.${name}`); } catch { return null; } },
    set(name, value) { try { localStorage.setItem(`valhalla.${name}`, value); } catch { /* closed */ } },
  };

  // ── times ───────────────────────────────────────────────────────────────
  const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
  const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  function tellTimes(within) {
    for (const each of all("time[datetime]", within)) {
      const seconds = (new Date(each.dateTime) - Date.now()) / 1000;
      const [unit, size] = units.find(([, size]) => Math.abs(seconds) >= size) || units[3];
      each.textContent = relative.format(Math.round(seconds / size), unit);
    }
  }

  // ── sorting what is shown ───────────────────────────────────────────────
  // what is shown of a number has a unit and separators: its rank and an instant's time have none
  const valueOf = (cell) => {
    const time = cell?.querySelector("time"), ranked = cell?.querySelector("[data-rank]");
    if (time) return new Date(time.dateTime).getTime();
    if (ranked) return Number(ranked.dataset.rank);
    return cell?.querySelector(".none") ? "" : (cell?.textContent || "").trim();
  };
  const collator = new Intl.Collator(undefined, { numeric: true });
  function compare(a, b, down) {
    if (a === "" || b === "") return (a === "") - (b === ""); // what has no value is last, whichever way
    const kinds = (typeof a === "string") - (typeof b === "string");
    return (kinds || (typeof a === "string" ? collator.compare(a, b) : a - b)) * (down ? -1 : 1);
  }
  let order = null; // what was chosen last holds for rows that come later, too
  function arrange(table) {
    if (!order || !table) return;
    const head = table.tHead.rows[0].cells[order.column], body = table.tBodies[0];
    all("th", table).forEach((each) => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", order.down ? "descending" : "ascending");
    const found = [...body.rows].map((row) => [valueOf(row.cells[order.column]), row]);
    found.sort(([a], [b]) => compare(a, b, order.down));
    body.append(...found.map(([, row]) => row));
  }
  function sort(button) {
    const column = Number(button.dataset.sort);
    order = { column, down: order?.column === column && !order.down };
    arrange(button.closest("table"));
  }

  // ── the dialog ──────────────────────────────────────────────────────────
  const dialog = document.getElementById("dialog");
  let opened = null; // the row that the dialog is about
  async function openDialog(link) {
    opened = link.closest("tr");
    const answer = await fetch(link.href, { headers: { "HX-Request": "true" }, credentials: "same-origin" });
    if (!answer.ok) { location.assign(link.href); return; }
    dialog.innerHTML = await answer.text(); // the server's own page, everything in it escaped; scripts in it do not run
    tellTimes(dialog);
    dialog.showModal();
    dialog.querySelector("input:not([type=hidden]), textarea, select")?.focus();
  }

  function toast(text) {
    if (all("#toasts .problem").some((each) => each.textContent === text)) return;
    const note = document.createElement("div");
    note.className = "problem";
    note.textContent = text;
    document.getElementById("toasts").append(note);
    setTimeout(() => note.remove(), 8000);
  }
  document.addEventListener("htmx:responseError", (event) => {
    const answer = event.detail.xhr;
    if (answer.status === 401) { location.assign(`${base}/login?next=${encodeURIComponent(location.pathname + location.search)}`); return; }
    let told = `The server answered ${answer.status}.`;
    try { const problem = JSON.parse(answer.responseText); told = `${problem.title}: ${problem.detail}`; }
    catch { told = new DOMParser().parseFromString(answer.responseText, "text/html").querySelector(".problem")?.textContent.trim() || told; }
    toast(told);
    if (answer.status >= 500) later(event.detail.elt);
  });
  document.addEventListener("htmx:sendError", (event) => { toast("The server cannot be reached."); later(event.detail.elt); });
  // a part that could not be renewed is still stale
  const later = (part) => { if (part?.matches?.("[data-topics]")) setTimeout(() => { if (part.isConnected) renew(part, false); }, 5000); };
  document.addEventListener("htmx:afterSwap", () => { tellTimes(document); arrange(document.querySelector("table[data-rows]")); });

  // ── clicks and keys ─────────────────────────────────────────────────────
  document.addEventListener("click", (event) => {
    const hit = (selector) => event.target.closest?.(selector);
    let found;
    // what was typed and is not in the table yet is not in this link either
    if (hit("[data-filtered]") && unapplied()) {
      event.preventDefault(); toast("The table does not show these filters yet: press again when it does.");
    } else if ((found = hit("[data-copy]"))) {
      navigator.clipboard?.writeText(found.dataset.copy).then(() => { found.textContent = "Copied"; });
    } else if ((found = hit("[data-sort]"))) sort(found);
    else if ((found = hit("[data-stop]"))) { event.preventDefault(); stopping = true; found.textContent = "Stopping…"; }
    else if (hit("[data-close]") && dialog.open) { event.preventDefault(); dialog.close(); }
    else if ((found = hit("[data-dialog]")) && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault(); openDialog(found);
    } else if (hit("[data-theme]:not(html)")) {
      const root = document.documentElement;
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      store.set("theme", root.dataset.theme = dark ? "light" : "dark");
    } else if ((found = hit("[data-menu]"))) {
      found.setAttribute("aria-expanded", String(document.getElementById("navigation").classList.toggle("open")));
    }
  });
  // whoever stops a long action is heard before its next step: the one under way is finished
  let stopping = false;
  document.addEventListener("htmx:configRequest", (event) => {
    if (stopping && event.detail.elt.matches("[data-steps]")) event.detail.parameters._stop = "1";
  });
  const rows = () => all("table[data-rows] tbody tr");
  const current = () => document.activeElement?.closest?.("table[data-rows] tbody tr");
  // who decides one thing after the other goes on at the row below
  const spot = `valhalla.row.${location.pathname}`;
  document.addEventListener("submit", (event) => {
    const at = rows().indexOf(opened);
    if (dialog?.contains(event.target) && at >= 0) try { sessionStorage.setItem(spot, String(at)); } catch { /* closed */ }
  });
  try {
    const kept = sessionStorage.getItem(spot), list = rows();
    sessionStorage.removeItem(spot);
    const waits = (row) => row.querySelector("[data-key]"); // what was decided may still be listed
    if (kept !== null && list.length) (list.slice(Number(kept)).find(waits) || list.find(waits) || list[0]).focus();
  } catch { /* closed */ }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || dialog?.open) return;
    if (/^(input|textarea|select)$/i.test(event.target.tagName)) return;
    const list = rows(), row = current();
    if (event.key === "/") { const field = document.querySelector("[data-search], .filters input"); if (field) { event.preventDefault(); field.focus(); } }
    else if ((event.key === "j" || event.key === "k") && list.length) {
      const at = list.indexOf(row) + (event.key === "j" ? 1 : row ? -1 : 1);
      list[Math.max(0, Math.min(at, list.length - 1))].focus();
    } else if (event.key === "Enter" && row && event.target === row) row.querySelector("a")?.click();
    else if (/^[a-z]$/.test(event.key) && row) row.querySelector(`[data-key="${event.key}"]`)?.click();
  });

  // ── filters that were typed, and those of the table ─────────────────────
  const filters = document.querySelector("form[data-filters]");
  const typed = () => new URLSearchParams([...new FormData(filters)].filter(([, value]) => value)).toString();
  let applied = filters && typed();
  function unapplied() { return Boolean(filters) && typed() !== applied; }
  let asked = null;
  document.addEventListener("htmx:configRequest", (event) => {
    if (event.detail.elt !== filters) return;
    // leaving a field says nothing new: a swap between press and release would swallow the click
    if (event.detail.triggeringEvent?.type === "change" && !unapplied()) event.preventDefault();
    else asked = typed();
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.elt === filters && event.detail.successful) applied = asked;
  });

  // ── saved filters ───────────────────────────────────────────────────────
  for (const form of all("form[data-filters]")) {
    const place = form.querySelector("[data-saved]"), name = `filters.${form.dataset.filters}`;
    const read = () => { try { return JSON.parse(store.get(name)) || {}; } catch { return {}; } };
    const draw = () => {
      place.replaceChildren();
      for (const [label, query] of Object.entries(read())) {
        const link = document.createElement("a");
        link.className = "button small"; link.textContent = label; link.href = `${base}/${form.dataset.filters}?${query}`;
        place.append(link);
      }
      const save = document.createElement("button");
      save.type = "button"; save.className = "small"; save.textContent = "Save";
      save.addEventListener("click", () => {
        const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value)).toString();
        const label = prompt("Name of this filter (the name of one that there is removes it)");
        if (!label) return;
        const kept = read();
        if (label in kept) delete kept[label]; else kept[label] = query;
        store.set(name, JSON.stringify(kept)); draw();
      });
      place.append(save);
    };
    draw();
  }

  // ── live ────────────────────────────────────────────────────────────────
  const light = document.getElementById("live");
  const stale = new Map();
  // where everything stood when this page was read: what came since is told first
  const standing = JSON.parse(document.body.dataset.standing || "{}"), revisions = standing.revisions || {};
  const hints = ["logs", "traces", "audit", "templates", "job", "schedule", "heartbeat", "applications", "deliveries"]; // of these nothing is kept that could be told again
  const FRESH = 5000; // a tab that was opened in the background listens late
  let listened = false;
  let source = null, last = standing.after || null, timer = 0;
  function say(text, lost) { if (light) { light.textContent = text; light.classList.toggle("lost", Boolean(lost)); } }
  const seen = (root) => all("main section", root).map((section) => section.textContent).join("\n");
  const first = document.querySelector("[data-record]") && seen(document);
  const busy = (part) => part.matches(":hover") || part.contains(document.activeElement) || dialog.open;
  function mark(part) {
    if (part.querySelector(":scope > .stale-note")) return;
    // nothing changes under the cursor: whoever looks at it decides when
    const note = document.createElement("button");
    note.type = "button"; note.className = "stale-note good small"; note.textContent = "Something changed: show it";
    note.addEventListener("click", () => renew(part, true));
    part.append(note);
  }
  function renew(part, asked) {
    if (!part.isConnected) return;
    if (part.dataset.stale) { if (asked) location.reload(); else mark(part); return; }
    if (!asked && busy(part)) { mark(part); return; }
    htmx.trigger(part, "stale");
    // what is answered may be some seconds old: it is asked once more then
    const lag = Number(part.dataset.lag);
    if (lag && !asked) setTimeout(() => { const now = document.getElementById(part.id); if (now) renew(now, true); }, lag * 1000);
  }
  // at once when all was quiet, twice a second when much happens
  const GATHER = 100, BETWEEN = 500;
  let flushed = 0;
  const soon = () => { if (!timer) timer = setTimeout(flush, Math.max(GATHER, flushed + BETWEEN - performance.now())); };
  function flush() { timer = 0; flushed = performance.now(); for (const part of stale.keys()) renew(part, false); stale.clear(); }
  const topicsOf = (part) => part.dataset.topics.split(" ").filter(Boolean);
  // of these every event names the one record it is about
  const named = ["sandbox", "job", "error", "deployment", "export", "heartbeat"];
  function about(part, event) {
    const record = part.dataset.record, subject = event.subject || "", [first, ...rest] = subject.split(".");
    if (!record || rest.join(".") === record || Object.values(event.data || {}).includes(record)) return "surely";
    return named.includes(first) && rest.length ? "no" : "maybe";
  }
  // who was told of some record, and not of which, looks whether it is this one
  let looking = 0;
  function look(part) {
    if (looking || part.querySelector(":scope > .stale-note")) return;
    looking = setTimeout(async () => {
      looking = 0;
      try {
        const answer = await fetch(part.dataset.stale, { headers: { "HX-Request": "true" }, credentials: "same-origin" });
        const now = answer.ok && new DOMParser().parseFromString(await answer.text(), "text/html");
        if (!now || seen(now) !== first) mark(part);
      } catch { /* the connection is lost: that is told, and what came meanwhile afterwards */ }
    }, LOOK);
  }
  const LOOK = 1000;
  function heard(event) {
    const subject = event.subject || "", { registry, revision } = event.type === "registry.changed" ? event.data : {};
    if (registry && revision <= revisions[registry]) return; // on connecting one is told where each stands
    if (registry) revisions[registry] = revision;
    for (const part of all("[data-topics]")) {
      if (!topicsOf(part).some((topic) => subject === topic || subject.startsWith(`${topic}.`))) continue;
      const sure = about(part, event);
      // what renews itself need not be looked at before
      if (sure === "maybe" && part.dataset.stale) look(part); else if (sure !== "no") stale.set(part, true);
    }
    if (stale.size) soon();
  }
  // what it says, whenever it was rendered
  function saying(part) {
    const copy = part.cloneNode(true);
    for (const time of all("time", copy)) time.textContent = time.dateTime;
    for (const note of all(".stale-note", copy)) note.remove();
    return copy.textContent.replace(/\s+/g, " ");
  }
  // a hint that came after the page was read and before it listened is told to nobody: what it was about is looked at once
  function catchUp() {
    const answers = new Map();
    for (const part of all("[data-topics]")) {
      if (!topicsOf(part).some((topic) => hints.includes(topic))) continue;
      const address = part.getAttribute("hx-get");
      if (part.dataset.stale) look(part);
      if (part.dataset.stale || !address || !part.id) continue;
      const headers = { "HX-Request": "true", "HX-Trigger": part.id };
      if (!answers.has(address)) answers.set(address, fetch(address, { headers, credentials: "same-origin" }).then((answer) => (answer.ok ? answer.text() : "")));
      answers.get(address).then((text) => {
        const now = new DOMParser().parseFromString(text, "text/html").getElementById(part.id);
        if (now && part.isConnected && saying(now) !== saying(part)) renew(part, false);
      }).catch(() => { /* the connection is lost: that is told, and what came meanwhile afterwards */ });
    }
  }
  function everything() { for (const part of all("[data-topics]")) stale.set(part, true); soon(); }
  function connect() {
    if (source || document.hidden) return;
    const topics = new Set(all("[data-topics]").flatMap(topicsOf));
    source = new EventSource(`${base}/events?${new URLSearchParams({ topics: [...topics].join(","), ...(last && { after: last }) })}`);
    source.onopen = () => {
      say("live");
      if (!listened && performance.now() <= FRESH) catchUp();
      else for (const topic of hints) if (topics.has(topic)) heard({ subject: topic });
      listened = true;
    };
    source.onmessage = (event) => {
      if (event.lastEventId) last = event.lastEventId;
      try { heard(JSON.parse(event.data)); } catch { /* not ours */ }
    };
    source.addEventListener("reset", everything);
    source.addEventListener("closed", (event) => {
      disconnect();
      if (event.data.includes("unauthenticated")) { say("signed out", true); return; }
      setTimeout(connect, 2000);
    });
    source.onerror = () => {
      say("connection lost", true);
      // the browser tries again by itself after a lost connection, not after an answer that is none
      if (source?.readyState === EventSource.CLOSED) { disconnect(); setTimeout(connect, 5000); }
    };
  }
  function disconnect() { source?.close(); source = null; }
  // a hidden page gives its connection back: browsers have six for each server
  document.addEventListener("visibilitychange", () => { if (document.hidden) disconnect(); else if (live) connect(); });
  const live = document.body.dataset.live === "yes" && all("[data-topics]").some((part) => part.dataset.topics.trim());
  tellTimes(document);
  setInterval(() => tellTimes(document), 30000);
  if (live) connect();
})();
