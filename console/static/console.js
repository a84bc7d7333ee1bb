// What pages do beyond HTML: times of the reader's zone, charts that answer, and news by
// server-sent events. Everything is there without it.
"use strict";

const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// Times
const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
function ago(ms) {
  const seconds = Math.floor(Math.abs(ms) / 1000);
  if (ms >= 0 && seconds < 2) return "just now";
  const [size, unit] = units.find(([least]) => seconds >= least) || [1, "s"];
  const text = `${Math.floor(seconds / size)} ${unit}`;
  return ms < 0 ? `in ${text}` : `${text} ago`;
}
const local = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false, timeZoneName: "short" });
// The server's clock says what now is; the reader's may be wrong.
const began = performance.now();
function times(within = document) {
  const made = document.querySelector("[data-now]");
  const base = made ? Number(made.dataset.now) : Date.now();
  const now = base + performance.now() - began;
  for (const time of all("time[data-moment]", within)) {
    const at = new Date(time.dateTime);
    time.textContent = ago(now - at);
    if (!time.title.includes("\n")) time.title += `\n${local.format(at)} here`;
  }
  for (const place of all("[data-local]", within)) place.textContent = ` · ${local.format(new Date(place.dataset.local))} here`;
}

// Colours: as the system has it, light, dark
const toggle = document.querySelector("[data-theme-toggle]");
if (toggle) {
  const root = document.documentElement;
  const name = toggle.querySelector("[data-theme-name]");
  const label = () => { name.textContent = { light: "Light", dark: "Dark" }[root.dataset.theme] || "Auto"; };
  toggle.hidden = false;
  label();
  toggle.addEventListener("click", () => {
    const next = { undefined: "light", light: "dark", dark: "" }[root.dataset.theme];
    if (next) root.dataset.theme = next;
    else delete root.dataset.theme;
    document.cookie = `hookline-theme=${next}; path=/; max-age=31536000; samesite=strict`;
    label();
  });
}

// Charts: the table behind each is where the values are
function chart(plot) {
  const rows = all("tbody tr", plot.parentElement);
  const names = all("thead th", plot.parentElement).slice(1).map((cell) => cell.textContent);
  const drawing = plot.querySelectorAll(":scope > svg")[1];
  const inner = drawing.querySelector("svg");
  const svg = (kind, name) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
    made.setAttribute("class", name);
    return made;
  };
  const begin = Number(plot.dataset.begin);
  const end = Number(plot.dataset.end);
  let tip, cross, band, from = null, at = -1;

  function show(index) {
    at = Math.max(0, Math.min(rows.length - 1, index));
    if (!tip) {
      tip = document.createElement("div");
      tip.className = "tip";
      tip.setAttribute("role", "status");
      cross = svg("line", "cross");
      cross.setAttribute("y1", 8);
      cross.setAttribute("y2", 168);
      plot.append(tip);
      drawing.append(cross);
    }
    const x = `${((at + 0.5) / rows.length) * 100}%`;
    cross.setAttribute("x1", x);
    cross.setAttribute("x2", x);
    const row = rows[at];
    const cells = all("td", row).map((cell) => cell.textContent);
    const when = document.createElement("p");
    const moment = new Date(Number(row.dataset.at) * 1000);
    when.textContent = `${row.firstElementChild.textContent} UTC · ${new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hour12: false }).format(moment)} here`;
    const table = document.createElement("table");
    names.forEach((name, i) => {
      const line = table.insertRow();
      line.insertCell().textContent = name;
      const value = line.insertCell();
      value.className = "number";
      value.textContent = cells[i];
    });
    tip.replaceChildren(when, table);
    const left = drawing.getBoundingClientRect().left - plot.getBoundingClientRect().left;
    const width = drawing.getBoundingClientRect().width;
    const place = left + ((at + 0.5) / rows.length) * width;
    const room = plot.getBoundingClientRect().width - tip.offsetWidth;
    tip.style.left = `${Math.max(0, Math.min(room, place < left + width / 2 ? place + 12 : place - tip.offsetWidth - 12))}px`;
  }
  function hide() {
    tip?.remove();
    cross?.remove();
    band?.remove();
    tip = cross = band = undefined;
    from = null;
    at = -1;
  }
  const share = (event) => {
    const box = drawing.getBoundingClientRect();
    return Math.max(0, Math.min(0.9999, (event.clientX - box.left) / box.width));
  };
  plot.addEventListener("pointermove", (event) => {
    const x = share(event);
    show(Math.floor(x * rows.length));
    if (from === null || !plot.dataset.zoom) return;
    if (!band) {
      band = svg("rect", "band");
      band.setAttribute("y", 0);
      band.setAttribute("height", 160);
      inner.append(band);
    }
    band.setAttribute("x", Math.min(from, x) * 1000);
    band.setAttribute("width", Math.abs(x - from) * 1000);
  });
  plot.addEventListener("pointerdown", (event) => {
    if (event.button === 0 && event.pointerType !== "touch") from = share(event);
  });
  plot.addEventListener("pointerup", (event) => {
    const start = from;
    from = null;
    if (start === null || !plot.dataset.zoom) return;
    const [low, high] = [Math.min(start, share(event)), Math.max(start, share(event))];
    // A click is no zoom.
    if ((high - low) * drawing.getBoundingClientRect().width < 8) { band?.remove(); band = undefined; return; }
    const second = (part) => Math.round(begin + part * (end - begin));
    location.href = `${plot.dataset.zoom}?from=${second(low)}&to=${second(high)}`;
  });
  plot.addEventListener("pointerleave", hide);
  plot.addEventListener("blur", hide);
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
    if (step !== undefined) {
      show(at < 0 && step !== -Infinity ? rows.length - 1 : at + step);
      event.preventDefault();
    } else if (event.key === "Escape") hide();
  });
}

// Choosing rows
for (const form of all("[data-selection]")) {
  const said = form.querySelector("[data-selected]");
  const boxes = all("tbody input[type=checkbox]", form);
  const whole = form.querySelector("input[name=all]");
  const text = said?.textContent;
  const buttons = all(".actions button", form);
  const count = () => {
    const chosen = boxes.filter((box) => box.checked).length;
    for (const box of boxes) box.disabled = Boolean(whole?.checked);
    for (const button of buttons) button.disabled = !chosen && !whole?.checked;
    if (said) said.textContent = whole?.checked ? "all chosen" : chosen ? `${chosen} chosen` : text;
  };
  form.addEventListener("change", count);
  addEventListener("pageshow", count);
  count();
}

// News: the page is fetched again, and those parts that have changed take the place of the old
const page = document.querySelector("[data-live-page]");
const state = document.querySelector("[data-live-state]");
if (page && state) {
  const text = state.querySelector("[data-live-text]");
  const button = state.querySelector("[data-live-toggle]");
  let source, timer, last = 0, paused = false, busy = false, late;
  state.hidden = false;
  const say = (words, on) => { text.textContent = words; state.classList.toggle("is-off", !on); };
  async function refresh() {
    clearTimeout(late);
    const wait = 5000 - (performance.now() - last);
    if (wait > 0) { late = setTimeout(refresh, wait); return; }
    // Not under the hands of somebody who reads a value or has chosen something.
    if (paused || busy || document.hidden || document.querySelector(".tip")) return;
    busy = true;
    last = performance.now();
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (answer.redirected && new URL(answer.url).pathname === "/sign-in") { location.reload(); return; }
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const old of all("[data-live]")) {
        const now = fresh.querySelector(`[data-live="${old.dataset.live}"]`);
        if (!now || old.contains(document.activeElement)) continue;
        const open = new Set(all("details[open]", old).map((one) => one.dataset.keep));
        for (const one of all("details", now)) one.open = open.has(one.dataset.keep);
        old.replaceWith(now);
        times(now);
        all("[data-chart]", now).forEach(chart);
      }
    } catch { /* the next news tries again */ } finally { busy = false; }
  }
  function listen() {
    source = new EventSource("/live");
    source.addEventListener("hello", () => { say("Live", true); clearInterval(timer); timer = undefined; });
    source.addEventListener("changed", refresh);
    source.onerror = () => {
      // Refused, as too many listen: the page looks by itself.
      if (source.readyState === EventSource.CLOSED && !timer) { say("Every 30 s", true); timer = setInterval(refresh, 30000); }
      else if (source.readyState !== EventSource.CLOSED) say("Connecting", false);
    };
  }
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Go on" : "Pause";
    if (paused) { source?.close(); clearInterval(timer); timer = undefined; say("Paused", false); } else { listen(); refresh(); }
  });
  addEventListener("pagehide", () => source?.close());
  listen();
}

times();
setInterval(times, 10000);
all("[data-chart]").forEach(chart);
