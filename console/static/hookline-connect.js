// <hookline-connect session="…" api="https://…">: a customer connects a system, inside your page.
//
// Attributes: `session`, the token that POST /api/v1/connect-sessions gave your backend (it is taken
//   out of the page at once); `api`, the console's address (where this script came from, if absent);
//   `theme`, `light` or `dark` (as the browser has it, if absent). The text runs as `dir` says.
// Properties: `session` and `api`, as the attributes; `strings`, texts in place of ours;
//   `view`, what the flow last said (read only).
// Methods: `focus()`, to the heading; `restart(session)`, with a new session token.
// Events, on the element: `step` {step, system}; `connected` {connection, system, account};
//   `error` {code, message}, when the session cannot go on; `close` {reason}: done, cancelled,
//   expired. See docs/connect.md.
//
// Rules: text is only ever set as text; nothing is written to storage; what is secret is out of its
// field as soon as it is sent; there is no style attribute and no script in markup, so that the
// strictest policy of a page lets it be.
(() => {
"use strict";

const HOME = document.currentScript?.src ? new URL(document.currentScript.src).origin : location.origin;
// A stream that says nothing for so long is dead: the server speaks every 15 s.
const SILENCE_MS = 40000;
// The first state comes at once, unless something between gathers the stream.
const FIRST_MS = 8000;
const POLL_MS = 3000;
const LONGEST_WAIT_MS = 15000;
const REVEALED_MS = 60000;
const WARN_MS = 180000;
// The window that comes back hands its proof over by itself, mostly; else its code is asked for.
const TYPED_MS = 2500;
const CONFIRMS = 10;
const SENDS = 4;

const STRINGS = {
  region: "Connect a system",
  progress: "Progress",
  position: "Step {number} of {count}",
  done: "done",
  loading: "One moment …",
  newWindow: "opens in a new window",
  chooseTitle: "What do you want to connect?",
  search: "Search",
  found: "{count} found",
  foundOne: "1 found",
  foundNone: "Nothing is called “{text}” here. Check the spelling, or try a shorter word.",
  searchFailed: "The list did not load. Search again in a moment.",
  detailsTitle: "Your {system} account",
  detailsHelp: "It takes about {minutes} min. Nothing is connected before every check has passed.",
  guidance: "Where to find this in {system}",
  steps: "What to do in {system}",
  example: "Example: {example}",
  optional: "(optional)",
  show: "Show",
  hide: "Hide",
  kept: "Saved. Leave it empty to keep it.",
  choose: "Choose …",
  continue: "Continue",
  missing: "{label} is missing.",
  missingChoice: "{label}: choose one.",
  mismatch: "{label} does not look right.",
  mistakes: "Please look at this again",
  authoriseTitle: "Allow access in {system}",
  authoriseHelp: "{system} opens in a new window and asks you whether to allow this. Say yes there, and this page goes on by itself.",
  authorise: "Continue to {system}",
  waitingTitle: "Waiting for you to come back",
  waitingHelp: "Answer the question in the window of {system}. This page goes on by itself.",
  openAgain: "No window? Open {system} here",
  authoriseAgain: "Start again",
  proofLabel: "Code from the last window",
  proofHelp: "{system} has said yes. Type the code that the last window shows, so that we know it was you.",
  proofMissing: "Type the 8 letters and digits that the last window shows.",
  confirm: "Confirm",
  validateTitle: "Checking your details",
  failedTitle: "This did not work yet",
  registerTitle: "Setting up {system}",
  manualTitle: "Tell {system} where to send events",
  manualHelp: "Do this in {system}, then come back here.",
  webhookUrl: "Address (URL)",
  signingSecret: "Signing secret",
  events: "Events to switch on",
  copy: "Copy",
  copied: "Copied",
  copyFailed: "Not copied. Select it, and copy it by hand.",
  registered: "I have done this",
  testTitle: "A first event from {system}",
  testHelp: "We wait until a real event arrives, so that you know that it works.",
  testUntil: "We wait until {time}.",
  sendTest: "Send a test event",
  skip: "Go on without it",
  connectedTitle: "{system} is connected",
  connectedHelp: "Events arrive from now on. You can close this page.",
  account: "Account",
  arrived: "Where the first event is",
  requestId: "Request id",
  topic: "Topic",
  partition: "Partition",
  offset: "Offset",
  finish: "Done",
  back: "Back",
  edit: "Change your details",
  retry: "Try again",
  cancel: "Stop connecting",
  cancelQuestion: "Stop? What you entered is removed.",
  cancelYes: "Yes, stop",
  cancelNo: "No, go on",
  cancelledTitle: "Stopped",
  cancelledHelp: "Nothing was connected, and what you entered was removed.",
  expiredTitle: "This page has expired",
  expiredHelp: "For safety it works only for a short time. Go back to where you came from and open it again: nothing was half connected.",
  refusedTitle: "This cannot be opened",
  refusedHelp: "Go back to where you came from and open it again.",
  nextStep: "What to do:",
  waiting: "waiting",
  running: "checking now",
  passed: "passed",
  failed: "failed",
  skipped: "not needed",
  away: "No connection at the moment. We keep trying; nothing is lost.",
  stale: "This was changed in another window. Here is how it stands now.",
  notSent: "This did not get through. Check your internet connection and try again.",
  sendAgain: "This did not get through. Enter what is secret again, and send it once more.",
  slowDown: "That was a lot at once. Wait {seconds} s and try again.",
  fault: "Something went wrong on our side. Try again in a moment.",
  ending: "This page works for {minutes} more min. Finish this step before then.",
};

// Each pair of text and ground has 4.5:1 or more, in both colours. A page's own variables win.
const LIGHT = `--_ground: var(--hookline-ground, #ffffff); --_sunken: var(--hookline-sunken, #f3f5f7); --_ink: var(--hookline-ink, #16191d);
  --_soft: var(--hookline-soft, #565f6a); --_edge: var(--hookline-edge, #dde1e5); --_strong-edge: var(--hookline-strong-edge, #7a838d);
  --_accent: var(--hookline-accent, #1d5bbf); --_on-accent: var(--hookline-on-accent, #ffffff); --_good: var(--hookline-good, #17713a);
  --_bad: var(--hookline-bad, #b3261e); --_bad-ground: var(--hookline-bad-ground, #fcebea); --_warn-ground: var(--hookline-warn-ground, #fdf1dc); color-scheme: light;`;
const DARK = `--_ground: var(--hookline-ground, #171b20); --_sunken: var(--hookline-sunken, #20262c); --_ink: var(--hookline-ink, #e8ebee);
  --_soft: var(--hookline-soft, #a9b2bc); --_edge: var(--hookline-edge, #2f363e); --_strong-edge: var(--hookline-strong-edge, #8a949f);
  --_accent: var(--hookline-accent, #85b4ff); --_on-accent: var(--hookline-on-accent, #0c1726); --_good: var(--hookline-good, #6fcf8f);
  --_bad: var(--hookline-bad, #ff9187); --_bad-ground: var(--hookline-bad-ground, #351a18); --_warn-ground: var(--hookline-warn-ground, #2e2412); color-scheme: dark;`;
const STYLE = `
:host { ${LIGHT} display: block; color: var(--_ink); font: 400 var(--hookline-font-size, 1rem)/1.5 var(--hookline-font, system-ui, sans-serif); text-align: start; }
@media (prefers-color-scheme: dark) { :host(:not([theme="light"])) { ${DARK} } }
:host([theme="dark"]) { ${DARK} }
:host([hidden]), [hidden] { display: none !important; }
*, *::before, *::after { box-sizing: border-box; }
h2, h3, p, ol, ul, dl, dd { margin: 0; padding: 0; }
ol, ul { list-style: none; }
/* Each text runs as its own letters do, and stands where the page's begin. */
p, h2, h3, label, button, summary, option, .numbered li > span, .checks li > span, .words span { unicode-bidi: plaintext; }
:host(:dir(rtl)) { text-align: right; }
.frame { container-type: inline-size; background: var(--_ground); border: 1px solid var(--_edge); border-radius: var(--hookline-radius, 12px); overflow-wrap: anywhere; }
.inside { padding: 1.25em; }
.for-reader { position: absolute; inline-size: 1px; block-size: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.steps { display: flex; gap: 0.4em; margin-block-end: 1.5em; }
.steps li { flex: 1; min-inline-size: 0; border-block-start: 3px solid var(--_edge); padding-block-start: 0.4em; font-size: 0.8125em; color: var(--_soft); }
.steps li.is-done { border-color: var(--_good); }
.steps li.is-current { border-color: var(--_accent); color: var(--_ink); font-weight: 600; }
.position { display: none; font-size: 0.8125em; color: var(--_soft); margin-block-end: 0.4em; }
h2 { font-size: 1.375em; line-height: 1.25; font-weight: 650; }
h2:focus { outline: none; }
h2:focus-visible { outline: 2px solid var(--_accent); outline-offset: 4px; border-radius: 2px; }
h3 { font-size: 1em; font-weight: 650; }
.head { display: flex; gap: 0.75em; align-items: start; margin-block-end: 1.25em; }
.head > div { min-inline-size: 0; }
.soft { color: var(--_soft); }
.small { font-size: 0.875em; }
.tile { flex: none; inline-size: 2.5em; block-size: 2.5em; border-radius: 0.6em; display: grid; place-items: center; background: var(--tile, #4a5560); color: var(--on-tile, #ffffff); font-weight: 700; line-height: 1; outline: 1px solid var(--_edge); }
.tile span { font-size: 0.9375em; }
.tile svg { inline-size: 60%; block-size: 60%; fill: currentColor; }
.two { display: grid; gap: 1.5em 2em; }
.stack { display: grid; gap: 1.125em; align-content: start; min-inline-size: 0; }
.tight { display: grid; gap: 0.3em; }
label, .label { font-weight: 600; }
label .soft { font-weight: 400; }
input, select { font: inherit; color: inherit; background: var(--_ground); border: 1px solid var(--_strong-edge); border-radius: 0.5em; padding: 0.55em 0.7em; inline-size: 100%; min-inline-size: 0; min-block-size: 2.75em; }
input:focus-visible, select:focus-visible, button:focus-visible, a:focus-visible, summary:focus-visible, [tabindex]:focus-visible { outline: 2px solid var(--_accent); outline-offset: 2px; }
input[aria-invalid="true"], select[aria-invalid="true"] { border-color: var(--_bad); border-inline-start-width: 4px; }
.ltr { direction: ltr; unicode-bidi: isolate; }
.with-button button { flex: none; }
.with-button { display: flex; gap: 0.5em; align-items: stretch; }
.mistake { color: var(--_bad); font-size: 0.875em; font-weight: 600; }
button { font: inherit; overflow-wrap: normal; font-weight: 600; cursor: pointer; border-radius: 0.5em; border: 1px solid var(--_strong-edge); background: transparent; color: inherit; padding: 0.55em 1em; min-block-size: 2.75em; text-decoration: none; }
button.first { background: var(--_accent); border-color: var(--_accent); color: var(--_on-accent); }
button.plain { border-color: transparent; color: var(--_soft); padding-inline: 0.5em; font-weight: 400; text-decoration: underline; text-underline-offset: 0.2em; }
button.link { border: 0; padding: 0.1em 0; min-block-size: 1.5em; color: inherit; text-decoration: underline; font-weight: 400; text-align: inherit; }
button:hover { border-color: var(--_ink); }
button.first:hover { filter: brightness(1.08); }
button[aria-disabled="true"] { opacity: 0.65; cursor: default; }
a { color: var(--_accent); text-underline-offset: 0.2em; }
.actions { display: flex; flex-wrap: wrap; gap: 0.6em; align-items: center; margin-block-start: 1.5em; }
.actions .end { margin-inline-start: auto; }
.note { border-radius: 0.6em; padding: 0.75em 1em; background: var(--_warn-ground); margin-block-end: 1em; font-size: 0.9375em; }
.problem { border-radius: 0.6em; padding: 0.9em 1em; background: var(--_bad-ground); border-inline-start: 4px solid var(--_bad); display: grid; gap: 0.35em; }
.problem.spaced { margin-block-end: 1.25em; }
.guidance { background: var(--_sunken); border-radius: 0.75em; padding: 1em 1.1em; align-self: start; min-inline-size: 0; }
.numbered { counter-reset: number; display: grid; gap: 0.8em; margin-block-start: 0.75em; }
.numbered li { counter-increment: number; display: grid; grid-template-columns: 1.75em minmax(0, 1fr); }
.numbered li::before { content: counter(number) "."; color: var(--_soft); font-variant-numeric: tabular-nums; }
.systems { display: grid; gap: 0.6em; }
.systems button { display: flex; gap: 0.75em; align-items: center; inline-size: 100%; block-size: 100%; text-align: inherit; border-color: var(--_edge); padding: 0.75em; }
.systems button:hover { border-color: var(--_accent); }
.systems .about { display: -webkit-box; -webkit-line-clamp: 2; -webkit-box-orient: vertical; overflow: hidden; font-weight: 400; font-size: 0.875em; line-height: 1.4; color: var(--_soft); }
.systems .words { min-inline-size: 0; }
.checks { display: grid; gap: 0; border: 1px solid var(--_edge); border-radius: 0.75em; }
.checks > li { display: grid; grid-template-columns: 1.25em minmax(0, 1fr) auto; gap: 0 0.75em; padding: 0.7em 1em; align-items: baseline; }
.checks > li + li { border-block-start: 1px solid var(--_edge); }
.checks .icon { align-self: start; margin-block-start: 0.15em; }
.checks .is-waiting, .checks .is-skipped { color: var(--_soft); }
.is-waiting .icon { stroke: var(--_edge); }
.checks .more { grid-column: 2 / -1; }
.checks .problem { margin-block-start: 0.5em; }
.icon { inline-size: 1.25em; block-size: 1.25em; fill: none; stroke: currentColor; stroke-width: 2.2; stroke-linecap: round; stroke-linejoin: round; display: block; }
.is-passed .icon, .icon.good { stroke: var(--_good); }
.is-failed .icon { stroke: var(--_bad); }
.icon.big { inline-size: 2.5em; block-size: 2.5em; flex: none; }
.is-running .icon, .icon.turning { stroke: var(--_accent); }
@media (prefers-reduced-motion: no-preference) {
  .is-running .icon, .icon.turning { animation: turn 1s linear infinite; }
  .checks > li.is-passed .icon { animation: appear 0.2s ease-out; }
}
@keyframes turn { to { rotate: 360deg; } }
@keyframes appear { from { scale: 0.4; } }
.value { display: block; font-family: ui-monospace, monospace; font-size: 0.9375em; background: var(--_sunken); border-radius: 0.5em; padding: 0.65em 0.8em; flex: 1; min-inline-size: 0; direction: ltr; text-align: left; }
.chips { display: flex; flex-wrap: wrap; gap: 0.4em; }
.chips li { font-family: ui-monospace, monospace; font-size: 0.8125em; background: var(--_sunken); border-radius: 0.4em; padding: 0.15em 0.5em; }
.wait { display: flex; gap: 0.75em; align-items: center; }
details { font-size: 0.875em; color: var(--_soft); }
summary { cursor: pointer; inline-size: fit-content; padding-block: 0.2em; }
dl { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 0.25em 1em; margin-block-start: 0.5em; }
dd { color: var(--_ink); }
dd.code { font-family: ui-monospace, monospace; direction: ltr; text-align: start; }
@container (min-width: 44em) {
  .inside { padding: 2em; }
  .two { grid-template-columns: minmax(0, 20em) minmax(0, 1fr); }
  .systems { grid-template-columns: repeat(2, minmax(0, 1fr)); }
}
@container (max-width: 34em) {
  .steps .name { display: none; }
  .steps { margin-block-end: 1.1em; }
  .position { display: block; }
  .with-button:has(.value) { flex-wrap: wrap; }
  .with-button .value { flex-basis: 100%; }
  .actions .first, .actions .first ~ button:not(.plain) { flex: 1 1 100%; }
  .actions .end { margin-inline-start: -0.5em; }
}
@media (forced-colors: active) { .steps li.is-current { border-color: Highlight; } button.first { border: 2px solid; } }
`;
const SHEET = new CSSStyleSheet();
SHEET.replaceSync(STYLE);

const ICONS = {
  passed: "M4 12.5l5.2 5.2L20 7", failed: "M6 6l12 12M18 6L6 18", running: "M12 3a9 9 0 1 0 9 9",
  waiting: "M12 8a4 4 0 1 0 0 8a4 4 0 0 0 0-8z", skipped: "M6 12h12", ring: "M12 3a9 9 0 1 0 0 18a9 9 0 0 0 0-18zM7.5 12.3l3.2 3.2l6-6.6",
};
const SVG = "http://www.w3.org/2000/svg";

/** Text from elsewhere without what turns its order round or cannot be seen. */
const shown = (text) => String(text ?? "").replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\ufeff]/g, "\ufffd");
/** An address that may be opened, or nothing: a link of `javascript:` is none. */
function web(address) {
  try {
    const url = new URL(address);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : "";
  } catch { return ""; }
}
function node(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "on") for (const [kind, act] of Object.entries(value)) made.addEventListener(kind, act);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter(Boolean).map((child) => (typeof child === "string" ? shown(child) : child)));
  return made;
}
function icon(name, more = "") {
  const made = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  made.setAttribute("viewBox", "0 0 24 24");
  made.setAttribute("class", `icon ${more}`);
  made.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[name]);
  made.append(path);
  return made;
}
/** A ground and the ink on it, 4.5:1 apart: white, on a colour a little darker if it must be. */
function legible(colour) {
  const css = (parts) => `rgb(${parts.map(Math.round).join(" ")})`;
  const linear = (part) => (part <= 10.31 ? part / 3294.6 : ((part / 255 + 0.055) / 1.055) ** 2.4);
  for (let share = 1; share > 0.75; share -= 0.04) {
    const darker = colour.map((part) => Math.floor(part * share));
    const [red, green, blue] = darker.map(linear);
    if (1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05) > 4.6) return [css(darker), "#ffffff"];
  }
  return [css(colour), "#000000"];
}
function tile(system) {
  const made = node("span", { class: "tile", "aria-hidden": "true" });
  if (/^#[0-9a-f]{6}$/i.test(system.colour || "")) {
    const [ground, ink] = legible([1, 3, 5].map((at) => parseInt(system.colour.slice(at, at + 2), 16)));
    // CSSOM, which a policy without 'unsafe-inline' lets be.
    made.style.setProperty("--tile", ground);
    made.style.setProperty("--on-tile", ink);
  }
  if (/^[MmLlHhVvCcSsQqTtAaZz0-9 ,.-]+$/.test(system.path || "")) {
    const drawing = icon("ring");
    drawing.removeAttribute("class");
    drawing.firstChild.setAttribute("d", system.path);
    made.append(drawing);
  } else made.append(node("span", {}, (system.initials || "?").slice(0, 3)));
  return made;
}

/** What of a view makes its step look otherwise; all else is changed in place. */
function shapeOf(view) {
  if (view.step === "validate" || (view.step === "register" && !byHand(view))) return "";
  if (view.step === "authorise") return JSON.stringify((view.actions ?? []).filter((action) => action !== "confirm"));
  const { form, actions, problem, webhook, test, arrived, account, checks } = view;
  const fields = (form?.fields ?? []).map(({ id, filled, options, label }) => [id, filled, label, options]);
  const failed = view.step === "register" && (checks ?? []).find((check) => check.explanation);
  return JSON.stringify([fields, form?.submit, actions, problem, webhook, test, arrived, account, failed]);
}
/** Whether the customer has something to do in the other system before we go on. */
const byHand = (view) => view.webhook?.how === "manual" && !view.busy && (view.actions ?? []).includes("register");
const broken = (view) => Boolean(view.problem) || (view.checks ?? []).some((check) => check.state === "failed");
const STEPS = {};
function localeOf(view) {
  try { return Intl.getCanonicalLocales(view.locale || []); } catch { return []; }
}

/** An answer that is no success: RFC 9457, as far as it is. */
class Refusal extends Error {
  constructor(status, body, retryAfter) {
    super(body.detail || body.title || "");
    this.status = status;
    this.code = body.code || String(body.type || "").split(/[/:#]/).pop() || `http_${status}`;
    this.view = body.view || null;
    this.seconds = Number(retryAfter) || 0;
  }
  /** Whether this session will not go on. */
  get final() { return this.status === 401 || this.status === 403 || this.status === 410; }
}

class Api {
  #token;
  constructor(base, token) { this.base = base; this.#token = token; }
  async open(path, signal, body) {
    const headers = { authorization: `Bearer ${this.#token}`, accept: path === "changes" ? "text/event-stream" : "application/json" };
    if (body) headers["content-type"] = "application/json";
    // No cookie goes along, and no Referer but to ourselves.
    const answer = await fetch(`${this.base}/connect/api/${path}`, {
      method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal,
      mode: "cors", credentials: "omit", cache: "no-store", redirect: "error", referrerPolicy: "same-origin",
    });
    if (answer.ok) return answer;
    const text = await answer.json().catch(() => ({}));
    throw new Refusal(answer.status, text && typeof text === "object" ? text : {}, answer.headers.get("retry-after"));
  }
  async ask(path, signal, body) { return (await this.open(path, signal, body)).json(); }
}

/** The events of a stream, as {event, data}; `alive` is told of each piece, also of a heartbeat. */
async function* events(stream, alive) {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    alive();
    const blocks = (rest + decoder.decode(value, { stream: true })).split("\n\n");
    rest = blocks.pop();
    if (rest.length > 2000000) throw new Error("too long");
    for (const block of blocks) {
      const lines = block.split("\n").map((line) => /^(event|data): ?(.*)$/.exec(line)).filter(Boolean);
      const all = (name) => lines.filter(([, field]) => field === name).map(([, , text]) => text).join("\n");
      if (lines.length) yield { event: all("event"), data: all("data") };
    }
  }
}

class HooklineConnect extends HTMLElement {
  static observedAttributes = ["session", "api"];

  #root = this.attachShadow({ mode: "open" });
  #strings = STRINGS;
  #token = "";
  #base = "";
  #api = null;
  #life = null;
  #view = null;
  #drawn = { key: "", update() {} };
  #busy = "";
  #over = "";
  #acted = false;
  #streaming = false;
  #said = new Map();
  #parts;
  #wake = () => {};
  #timers = new Set();
  #pointerDown = false;
  #held = [];

  constructor() {
    super();
    this.#root.adoptedStyleSheets = [SHEET];
    const parts = this.#parts = {
      steps: node("ol", { class: "steps" }), position: node("p", { class: "position", "aria-hidden": "true" }),
      away: node("p", { class: "note", role: "status" }), note: node("p", { class: "note", role: "status" }),
      ending: node("p", { class: "note", role: "status" }), body: node("div"), live: node("p", { class: "for-reader", role: "status" }),
    };
    for (const part of [parts.away, parts.note, parts.ending]) part.hidden = true;
    parts.frame = node("section", { class: "frame" }, node("div", { class: "inside" },
      parts.position, parts.steps, parts.away, parts.ending, parts.note, parts.body, parts.live));
    this.#root.append(parts.frame);
    this.#root.addEventListener("pointerdown", () => { this.#pointerDown = true; }, true);
  }

  get session() { return this.#token; }
  set session(token) { this.#token = String(token ?? "").trim(); this.#begin(); }
  get api() { return this.#base || HOME; }
  set api(address) { this.#base = web(address).replace(/\/+$/, ""); this.#begin(); }
  get strings() { return { ...this.#strings }; }
  set strings(own) { this.#strings = { ...STRINGS, ...own }; this.#drawn = { key: "", update() {} }; this.#draw(); }
  get view() { return this.#view && structuredClone(this.#view); }
  restart(session) { this.session = session; }
  focus() { this.#parts.body.querySelector("h2")?.focus(); }

  attributeChangedCallback(name, before, value) {
    if (value === null) return;
    if (name === "api") { this.api = value; return; }
    this.session = value;
    // Nobody reads it out of the page later, nor does a picture of the page's markup hold it.
    this.removeAttribute("session");
  }
  connectedCallback() {
    addEventListener("online", this.#hurry);
    addEventListener("message", this.#heard);
    for (const end of ["pointerup", "pointercancel"]) addEventListener(end, this.#released, true);
    document.addEventListener("visibilitychange", this.#hurry);
    this.#begin();
  }
  disconnectedCallback() {
    removeEventListener("online", this.#hurry);
    removeEventListener("message", this.#heard);
    for (const end of ["pointerup", "pointercancel"]) removeEventListener(end, this.#released, true);
    document.removeEventListener("visibilitychange", this.#hurry);
    this.#stop();
  }
  #released = () => { this.#pointerDown = false; for (const act of this.#held.splice(0)) setTimeout(act); };
  #hurry = () => { if (!document.hidden) this.#wake(); };
  #t(name, values = {}) { return String(this.#strings[name] ?? "").replace(/\{(\w+)\}/g, (whole, key) => values[key] ?? whole); }
  #emit(name, detail) { this.dispatchEvent(new CustomEvent(name, { detail })); }
  #announce(text) { this.#parts.live.textContent = shown(text); }
  #note(text) { this.#parts.note.hidden = !text; this.#parts.note.textContent = shown(text); }
  #later(ms, act) {
    const timer = setTimeout(() => { this.#timers.delete(timer); act(); }, ms);
    this.#timers.add(timer);
    return timer;
  }

  #stop() {
    this.#life?.abort();
    this.#life = null;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }
  #begin() {
    if (!this.isConnected) return;
    this.#stop();
    this.#view = null;
    this.#busy = this.#over = "";
    this.#said.clear();
    this.#parts.away.hidden = this.#parts.ending.hidden = true;
    this.#note("");
    this.#draw();
    if (!this.#token) return;
    this.#api = new Api(this.api, this.#token);
    this.#life = new AbortController();
    this.#follow(this.#life.signal);
  }

  // What the flow says, as it says it.

  async #follow(ended) {
    let failures = 0;
    let gathered = 0;
    while (!ended.aborted && !this.#over) {
      let wait = 0;
      const attempt = new AbortController();
      const end = () => attempt.abort();
      ended.addEventListener("abort", end);
      let watch = setTimeout(end, FIRST_MS);
      const alive = () => { clearTimeout(watch); watch = setTimeout(end, SILENCE_MS); this.#streaming = true; };
      let first = true;
      try {
        this.#take(await this.#api.ask("state", attempt.signal));
        this.#reached();
        failures = 0;
        if (this.#over) return;
        // Something between us and the server keeps the stream back: then we ask.
        if (gathered > 1) wait = POLL_MS;
        else {
          clearTimeout(watch);
          watch = setTimeout(end, FIRST_MS);
          const answer = await this.#api.open("changes", attempt.signal);
          for await (const { event, data } of events(answer.body, alive)) {
            if (event !== "state") continue;
            first = false;
            gathered = 0;
            this.#take(JSON.parse(data));
            if (this.#over) return;
          }
          wait = 300;
        }
      } catch (error) {
        if (ended.aborted || this.#over) return;
        if (error instanceof Refusal && error.final) { this.#refused(error); return; }
        failures += 1;
        if (attempt.signal.aborted && first) gathered += 1;
        wait = Math.min(LONGEST_WAIT_MS, 500 * 2 ** failures) * (0.5 + Math.random() / 2);
        // Too many listen already: its state is asked for meanwhile.
        if (error instanceof Refusal && error.seconds) wait = Math.min(LONGEST_WAIT_MS, error.seconds * 1000);
        else if (!(error instanceof Refusal && error.status === 503 && this.#view)) this.#lost();
      } finally {
        this.#streaming = false;
        clearTimeout(watch);
        ended.removeEventListener("abort", end);
        attempt.abort();
      }
      await new Promise((go) => { this.#wake = go; setTimeout(go, wait); });
    }
  }
  #lost() {
    this.#parts.away.textContent = this.#t("away");
    this.#parts.away.hidden = false;
  }
  #reached() {
    this.#parts.away.hidden = true;
    this.#parts.away.textContent = "";
  }

  #take(view) {
    if (this.#view && view.revision < this.#view.revision) return;
    const before = this.#view;
    this.#view = view;
    if (before && before.step !== view.step) this.#note("");
    const checks = [];
    for (const check of view.checks || []) {
      const now = `${check.state} ${check.explanation?.code ?? ""}`;
      const told = this.#said.get(check.id);
      this.#said.set(check.id, now);
      if (told === now) continue;
      if (check.state === "passed" || check.state === "failed") checks.push(`${check.title}: ${this.#t(check.state)}`);
      else if (check.explanation) checks.push(check.explanation.what);
    }
    this.#draw();
    if (checks.length) this.#announce(checks.join(". "));
    this.#warn();
    if (before?.step === view.step) return;
    const system = view.system?.id ?? "";
    this.#emit("step", { step: view.step, system });
    if (view.step === "connected") {
      this.#over = "connected";
      this.#emit("connected", { connection: view.connection?.id ?? "", system, account: view.account ?? "" });
    } else if (view.step === "cancelled" || view.step === "expired") {
      this.#over = view.step;
      this.#emit("close", { reason: view.step });
    }
    if (this.#over) { this.#reached(); this.#parts.ending.hidden = true; }
  }
  #refused(error) {
    this.#over = error.code;
    this.#reached();
    this.#parts.ending.hidden = true;
    this.#note("");
    this.#draw(error);
    this.#emit("error", { code: error.code, message: error.message });
  }
  #warn() {
    if (this.#over || !this.#view?.expires_at) return;
    const left = new Date(this.#view.expires_at) - Date.now();
    clearTimeout(this.#warner);
    this.#timers.delete(this.#warner);
    if (Number.isNaN(left) || left <= 0) return;
    this.#warner = this.#later(Math.min(Math.max(0, left - WARN_MS), 2 ** 30), () => {
      if (this.#over) return;
      this.#parts.ending.textContent = this.#t("ending", { minutes: Math.max(1, Math.round((new Date(this.#view.expires_at) - Date.now()) / 60000)) });
      this.#parts.ending.hidden = false;
    });
  }
  #warner;

  // What the customer does.

  async #act(action, more = {}) {
    if (this.#busy || this.#over || !this.#view) return null;
    this.#acted = true;
    this.#setBusy(action);
    this.#note("");
    const { signal } = this.#life;
    const body = { action, revision: this.#view.revision, ...more };
    try {
      for (let sent = 1; ; sent += 1) {
        try {
          const view = await this.#api.ask("actions", signal, body);
          this.#reached();
          this.#take(view);
          return this.#view;
        } catch (error) {
          if (signal.aborted) return null;
          if (error instanceof Refusal) this.#reached();
          if (error instanceof Refusal && error.view) {
            // Sent twice, since the first answer was lost: it is how we wanted it.
            if (error.code === "stale" && sent === 1) this.#note(this.#t("stale"));
            else if (error.code !== "stale") this.#note(error.message);
            this.#take(error.view);
            return null;
          }
          if (error instanceof Refusal && error.final) { this.#refused(error); return null; }
          const dropped = !(error instanceof Refusal) || error.status === 502 || error.status === 504;
          if (dropped && sent < SENDS) {
            this.#lost();
            await new Promise((go) => setTimeout(go, 500 * 2 ** sent));
            continue;
          }
          this.#note(this.#why(error, more));
          return null;
        }
      }
    } finally {
      // What was lost was this alone.
      if (this.#streaming) this.#reached();
      if (!signal.aborted) this.#setBusy("");
      this.#acted = false;
    }
  }
  /** From the page that the other system led back to: the proof that it was this customer. */
  #heard = async ({ origin, source, data }) => {
    if (origin !== new URL(this.api).origin || data?.type !== "hookline-proof" || typeof data.proof !== "string") return;
    if (!this.#life || this.#view?.step !== "authorise") return;
    const { signal } = this.#life;
    const body = { action: "confirm", revision: this.#view.revision, values: { proof: data.proof.slice(0, 100) } };
    for (let sent = 1; sent <= CONFIRMS && !signal.aborted && !this.#over; sent += 1) {
      try {
        const view = await this.#api.ask("actions", signal, body);
        this.#take(view);
        if (view.problem?.code !== "code_wrong") source?.postMessage({ type: "hookline-confirmed" }, origin);
        return;
      } catch (error) {
        if (error instanceof Refusal && error.final) { this.#refused(error); return; }
        // The server that we ask may not know yet what another one has kept; or the network is away.
        await new Promise((go) => setTimeout(go, 300));
      }
    }
  };
  #why(error, more) {
    if (!(error instanceof Refusal)) return this.#t(more.values ? "sendAgain" : "notSent");
    if (error.status === 429) return this.#t("slowDown", { seconds: error.seconds || 10 });
    if (error.status >= 500) return this.#t("fault");
    return error.message || this.#t("fault");
  }
  #setBusy(action) {
    this.#busy = action;
    this.#parts.body.setAttribute("aria-busy", action ? "true" : "false");
    for (const button of this.#parts.body.querySelectorAll("[data-act]")) {
      if (action) button.setAttribute("aria-disabled", "true");
      else button.removeAttribute("aria-disabled");
    }
  }

  // What is shown: a step is drawn once, and from then on what has changed in it is.

  #draw(error = null) {
    if (!this.isConnected) return;
    const view = this.#view;
    const { frame, steps, position, body } = this.#parts;
    frame.setAttribute("aria-label", this.#t("region"));
    const key = error ? "refused" : !view ? "loading" : `${view.step}/${view.system?.id ?? ""}/${shapeOf(view)}`;
    this.#progress(error ? null : view, steps, position);
    if (key === this.#drawn.key) { this.#drawn.update(view); return; }
    const held = this.#root.activeElement !== null || this.#acted;
    const [sameStep, where] = [this.#drawn.key.split("/")[0] === key.split("/")[0], this.#root.activeElement?.dataset.act];
    const make = error ? () => this.#end("refusedTitle", error.message || this.#t("refusedHelp"), error.code === "expired" ? "expiredTitle" : "") : STEPS[view?.step] ?? STEPS.loading;
    // What is being typed stays, also where the form is drawn anew around it.
    const typed = [...body.querySelectorAll("input[id], select[id]")].filter((one) => sameStep && one.value !== (one.drawn ?? ""));
    const writing = sameStep && this.#root.activeElement?.id;
    const drawn = make.call(this, view);
    this.#drawn = { key, update: drawn.update ?? (() => {}) };
    body.replaceChildren(...drawn.nodes.filter(Boolean));
    for (const { id, value } of typed) { const one = body.querySelector(`#${CSS.escape(id)}`); if (one) one.value = value; }
    this.#drawn.update(view);
    if (this.#busy) this.#setBusy(this.#busy);
    if (!held || key === "loading") return;
    const problem = sameStep && body.querySelector(".problem[tabindex]:not([hidden])");
    const same = sameStep && ((where && body.querySelector(`[data-act="${CSS.escape(where)}"]`)) || (writing && body.querySelector(`#${CSS.escape(writing)}`)));
    (problem || same || body.querySelector("h2"))?.focus();
  }
  #progress(view, steps, position) {
    const all = (view?.steps ?? []).filter((step) => step && step.title);
    const now = all.findIndex((step) => step.state === "current");
    steps.hidden = !all.length || !!STEPS[view.step]?.last;
    steps.setAttribute("aria-label", this.#t("progress"));
    position.textContent = now < 0 ? "" : `${this.#t("position", { number: now + 1, count: all.length })} · ${shown(all[now].title)}`;
    steps.replaceChildren(...all.map((step) => node("li", {
      class: `is-${step.state === "done" || step.state === "current" ? step.state : "todo"}`,
      "aria-current": step.state === "current" && "step",
    }, node("span", { class: "name" }, step.title), node("span", { class: "for-reader" },
      `${step.title}${step.state === "done" ? `, ${this.#t("done")}` : ""}`))));
    for (const item of steps.children) item.firstChild.setAttribute("aria-hidden", "true");
  }
  #name(view) { return shown(view?.authorise?.system || view?.system?.name || ""); }
  #head(view, title, help = "") {
    return node("div", { class: "head" }, view?.system && tile(view.system), node("div", {},
      node("h2", { tabindex: "-1" }, title), help && node("p", { class: "soft" }, help)));
  }
  #button(label, action, options = {}) {
    return node("button", {
      type: options.submit ? "submit" : "button", class: options.class, "data-act": options.name ?? action,
      on: options.submit ? {} : { click: (event) => { if (!this.#busy) (options.do ?? (() => this.#act(action)))(event); } },
    }, label);
  }
  /** The row of buttons: the first, and what else the flow allows now. */
  #actions(view, first, { retry = true } = {}) {
    const allowed = new Set(view.actions ?? []);
    const row = node("div", { class: "actions" });
    const fill = () => {
      const edit = allowed.has("back") && view.step !== "details" && view.step !== "authorise";
      row.replaceChildren(...[
        first,
        retry && allowed.has("retry") && this.#button(this.#t("retry"), "retry", { class: first ? "" : "first" }),
        allowed.has("back") && this.#button(this.#t(edit ? "edit" : "back"), "back"),
        allowed.has("skip") && this.#button(this.#t("skip"), "skip"),
        allowed.has("cancel") && this.#button(this.#t("cancel"), "", { name: "ask", class: "plain end", do: ask }),
      ].filter(Boolean));
    };
    const ask = () => {
      const no = this.#button(this.#t("cancelNo"), "", { do: () => { fill(); row.querySelector(".end")?.focus(); } });
      row.replaceChildren(node("p", { id: "stop" }, this.#t("cancelQuestion")),
        this.#button(this.#t("cancelYes"), "cancel", { class: "first" }), no);
      no.setAttribute("aria-describedby", "stop");
      no.focus();
    };
    fill();
    return row;
  }
  #problem(explanation, attributes = {}) {
    if (!explanation) return null;
    return node("div", { class: "problem", ...attributes }, node("h3", {}, explanation.what),
      node("p", {}, explanation.why),
      explanation.next && node("p", {}, node("strong", {}, this.#t("nextStep")), " ", explanation.next));
  }
  #guidance(list, title) {
    if (!list?.length) return null;
    return node("section", { class: "guidance", "aria-labelledby": "guidance" }, node("h3", { id: "guidance" }, title), this.#numbered(list));
  }
  #numbered(list) {
    return node("ol", { class: "numbered" }, list.map((guide) => {
      const href = web(guide.link);
      return node("li", {}, node("span", {}, guide.text, href && " ", href && this.#link(href, new URL(href).host)));
    }));
  }
  #link(href, text, rel = "noopener noreferrer") {
    return node("a", { href, target: "_blank", rel, referrerpolicy: "no-referrer" },
      text, node("span", { class: "for-reader" }, ` (${this.#t("newWindow")})`));
  }
  /** The checks, each where it was, so that what is read out or looked at does not jump. */
  #checks(list) {
    const items = new Map();
    const update = (view) => {
      for (const check of view.checks ?? []) {
        let item = items.get(check.id);
        if (!item) {
          item = node("li");
          items.set(check.id, item);
          list.append(item);
        }
        const state = ICONS[check.state] ? check.state : "waiting";
        const stamp = JSON.stringify(check);
        if (item.stamp === stamp) continue;
        item.stamp = stamp;
        item.className = `is-${state}`;
        const took = state === "passed" && check.took_ms >= 1000 ? `${(check.took_ms / 1000).toFixed(1)} s` : "";
        item.replaceChildren(...[
          icon(state), node("span", {}, check.title, node("span", { class: "for-reader" }, `: ${this.#t(state)}`)),
          node("span", { class: "small soft" }, took),
          check.detail && !check.explanation && node("p", { class: "more small soft" }, check.detail),
          check.explanation && node("div", { class: "more" }, this.#problem(check.explanation, { tabindex: "-1" })),
        ].filter(Boolean));
      }
      const known = new Set((view.checks ?? []).map((check) => check.id));
      for (const [id, item] of items) if (!known.has(id)) { item.remove(); items.delete(id); }
      list.hidden = !items.size;
    };
    return update;
  }
  /** The explanation that no check has, if there is one. */
  #apart(view) {
    const told = (view.checks ?? []).some((check) => check.explanation);
    return told ? null : view.problem;
  }

  #wait(text) { return node("p", { class: "wait" }, icon("running", "turning"), node("strong", {}, text)); }
  #loading() {
    return { nodes: [this.#wait(this.#t("loading"))] };
  }
  #end(title, help, other = "") {
    return { nodes: [this.#head(null, this.#t(other || title), help)] };
  }

  #choose(view) {
    const status = node("p", { class: "small soft", hidden: true });
    const say = (text) => { status.textContent = shown(text); status.hidden = !text; this.#announce(text); };
    const list = node("ul", { class: "systems" });
    const input = node("input", { id: "search", type: "search", autocomplete: "off", spellcheck: "false", maxlength: "100", enterkeyhint: "search" });
    const { signal } = this.#life;
    let turn = 0;
    let timer;
    const look = async () => {
      const mine = (turn += 1);
      const text = input.value.trim();
      try {
        const { systems } = await this.#api.ask(`systems?${new URLSearchParams({ q: text, limit: 50 })}`, signal);
        if (mine !== turn) return;
        list.replaceChildren(...systems.map((system) => node("li", {}, this.#button("", "choose", {
          do: () => this.#act("choose", { system: system.id }),
        }))));
        systems.forEach((system, at) => list.children[at].firstChild.append(tile(system),
          node("span", { class: "words" }, node("span", { class: "name" }, system.name), " ", node("span", { class: "about" }, system.about))));
        say(!systems.length ? this.#t("foundNone", { text }) : !text ? "" : systems.length === 1 ? this.#t("foundOne") : this.#t("found", { count: systems.length }));
      } catch (error) {
        if (signal.aborted || mine !== turn) return;
        if (error instanceof Refusal && error.final) { this.#refused(error); return; }
        say(this.#t("searchFailed"));
        if (!text) timer = this.#later(2000, look);
      }
    };
    input.addEventListener("input", () => { clearTimeout(timer); timer = this.#later(150, look); });
    input.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown") { list.querySelector("button")?.focus(); event.preventDefault(); }
    });
    list.addEventListener("keydown", (event) => {
      const way = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      const buttons = [...list.querySelectorAll("button")];
      const at = buttons.indexOf(this.#root.activeElement);
      if (!way || at < 0) return;
      (at + way < 0 ? input : buttons[Math.min(at + way, buttons.length - 1)]).focus();
      event.preventDefault();
    });
    look();
    return { nodes: [
      this.#head(null, this.#t("chooseTitle")),
      this.#problem(this.#apart(view), { class: "problem spaced" }),
      node("div", { class: "stack" }, node("div", { class: "tight" }, node("label", { for: "search" }, this.#t("search")), input), status, list),
      this.#actions(view, null),
    ] };
  }

  /** A form: its node and how it takes what the flow says of it. */
  #form(view, action, submit) {
    const fields = view.form?.fields ?? [];
    const inputs = new Map();
    const summary = node("div", { class: "problem spaced", tabindex: "-1", role: "alert", hidden: true });
    const rows = fields.map((field) => {
      const id = `field-${field.id}`;
      const described = [];
      const label = node("label", { for: id }, field.label, field.required === false && node("span", { class: "soft" }, ` ${this.#t("optional")}`));
      const about = (name, text) => {
        if (!text) return null;
        described.push(`${id}-${name}`);
        return node("p", { id: `${id}-${name}`, class: "small soft" }, text);
      };
      const help = about("help", field.help);
      const example = about("example", field.example && this.#t("example", { example: field.example }));
      const kept = about("kept", field.secret && field.filled && this.#t("kept"));
      const mistake = node("p", { id: `${id}-mistake`, class: "mistake", hidden: true });
      const common = { id, "aria-required": field.required !== false && !(field.secret && field.filled) ? "true" : false, "aria-describedby": [...described, `${id}-mistake`].join(" ") };
      let input;
      let shell;
      if (field.kind === "choice" || field.options?.length) {
        input = node("select", common, node("option", { value: "" }, this.#t("choose")),
          (field.options ?? []).map((option) => node("option", { value: option.value }, option.label)));
        input.value = field.value ?? "";
      } else {
        input = node("input", {
          ...common, type: field.secret ? "password" : field.kind === "email" ? "email" : "text", maxlength: "8192",
          inputmode: field.kind === "url" && "url", class: (field.secret || field.kind !== "text") && "ltr",
          // A browser keeps none of it, and no manager of passwords offers to.
          autocomplete: "off", spellcheck: "false", autocapitalize: "off", autocorrect: "off", "data-1p-ignore": true, "data-lpignore": "true",
        });
        if (!field.secret) input.value = field.value ?? "";
      }
      input.drawn = input.value;
      if (field.secret) {
        const word = node("span", {}, this.#t("show"));
        const eye = node("button", { type: "button", on: { click: () => {
          const open = input.type === "password";
          input.type = open ? "text" : "password";
          word.textContent = this.#t(open ? "hide" : "show");
        } } }, word, node("span", { class: "for-reader" }, ` ${field.label}`));
        input.mask = () => { input.type = "password"; word.textContent = this.#t("show"); };
        shell = node("div", { class: "with-button" }, input, eye);
      }
      const one = { field, input, mistake };
      inputs.set(field.id, one);
      input.addEventListener("blur", () => this.#calmly(() => { if (input.value) this.#say(one, this.#mistakeOf(one)); }));
      input.addEventListener("input", () => { if (!mistake.hidden) this.#say(one, this.#mistakeOf(one)); });
      return node("div", { class: "tight" }, label, help, example, shell ?? input, kept, mistake);
    });
    const list = (wrong) => {
      summary.hidden = !wrong.length;
      summary.replaceChildren(node("h3", {}, this.#t("mistakes")), node("ul", { class: "tight" }, wrong.map(([one, text]) => node("li", {},
        node("button", { type: "button", class: "link", on: { click: () => one.input.focus() } }, text)))));
      if (wrong.length) summary.focus();
    };
    const form = node("form", { novalidate: true, autocomplete: "off", class: "stack", on: { submit: async (event) => {
      event.preventDefault();
      if (this.#busy) return;
      const wrong = [...inputs.values()].map((one) => [one, this.#mistakeOf(one)]);
      for (const [one, text] of wrong) this.#say(one, text);
      const found = wrong.filter(([, text]) => text);
      list(found);
      if (found.length) return;
      const values = {};
      for (const { field, input } of inputs.values()) {
        if (input.value || !field.secret) values[field.id] = input.value;
        if (field.secret) { input.value = ""; input.mask(); }
      }
      await this.#act(action, { values });
    } } }, rows);
    const row = this.#actions(view, this.#button(submit || this.#t("continue"), "", { name: "submit", class: "first", submit: true }), { retry: false });
    form.append(row);
    let told = "";
    const update = (now) => {
      const wrong = [];
      const stamp = JSON.stringify((now.form?.fields ?? []).map((field) => field.mistake || ""));
      for (const field of now.form?.fields ?? []) {
        const one = inputs.get(field.id);
        if (!one) continue;
        one.field = field;
        if (stamp === told) continue;
        this.#say(one, field.mistake);
        if (field.mistake) wrong.push([one, field.mistake]);
      }
      if (stamp !== told && (wrong.length || told)) list(wrong);
      told = stamp;
    };
    return { form, summary, update };
  }
  /** Not while a pointer is down: a button that moves away under it would not be pressed. */
  #calmly(act) { if (this.#pointerDown) this.#held.push(act); else act(); }
  #mistakeOf({ field, input }) {
    const text = input.value.trim();
    const label = shown(field.label);
    if (!text) {
      if (field.required === false || (field.secret && field.filled)) return "";
      return this.#t(input.localName === "select" ? "missingChoice" : "missing", { label });
    }
    if (!field.pattern) return "";
    try {
      return new RegExp(`^(?:${field.pattern})$`, "u").test(text) ? "" : field.mismatch || this.#t("mismatch", { label });
    } catch { return ""; }
  }
  #say({ input, mistake }, text) {
    mistake.textContent = shown(text || "");
    mistake.hidden = !text;
    if (text) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  }

  #details(view) {
    const { form, summary, update } = this.#form(view, "details", view.form?.submit);
    const problem = this.#problem(view.problem, { class: "problem spaced", tabindex: "-1" });
    return { nodes: [
      this.#head(view, this.#t("detailsTitle", { system: this.#name(view) }), this.#t("detailsHelp", { minutes: view.system?.minutes ?? 3 })),
      problem, summary,
      node("div", { class: view.form?.guidance?.length ? "two" : "" }, this.#guidance(view.form?.guidance, this.#t("guidance", { system: this.#name(view) })), form),
    ], update };
  }

  #authorise(view) {
    const system = this.#name(view);
    const waiting = node("div", { class: "tight", hidden: true });
    const begin = node("div", { class: "stack" });
    const { typing, ask } = this.#typing(system);
    let url = "";
    let asked = false;
    let told = "";
    const first = this.#button(this.#t("authorise", { system }), "", { name: "authorise", class: "first", do: async () => {
      // Opened in the click itself, or a browser blocks it.
      // It keeps its opener: the page that it ends at hands over the proof that it was this customer.
      const popup = window.open("about:blank", "_blank", "popup,width=640,height=780");
      const before = this.#view;
      const now = (before.actions ?? []).includes("authorise") ? await this.#act("authorise") : before;
      // It is in this one answer only, since it is for one use.
      url = now?.step === "authorise" ? web(now.authorise?.url) : "";
      if (!url) { popup?.close(); return; }
      popup?.location.replace(url);
      asked = true;
      update(this.#view);
      this.#announce(this.#t("waitingTitle"));
    } });
    const update = (now) => {
      // What came back was a no: it begins again.
      if (now.problem && !(now.actions ?? []).includes("confirm")) asked = false;
      first.textContent = this.#t(asked ? "authoriseAgain" : "authorise", { system });
      first.classList.toggle("first", !asked);
      const asks = ask((now.actions ?? []).includes("confirm"), now.problem);
      waiting.hidden = asks || (!asked && !now.busy);
      waiting.replaceChildren(...(now.busy ? [this.#wait(this.#t("loading"))] : [this.#wait(this.#t("waitingTitle")),
        node("p", { class: "soft" }, this.#t("waitingHelp", { system })),
        url && node("p", {}, this.#link(url, this.#t("openAgain", { system }), "opener"))].filter(Boolean)));
      const stamp = JSON.stringify(now.problem);
      const problem = this.#problem(this.#apart(now), { tabindex: "-1" });
      begin.replaceChildren(...[problem, waiting].filter(Boolean));
      if (problem && told && stamp !== told && this.#root.activeElement) problem.focus();
      told = stamp;
    };
    return { nodes: [
      this.#head(view, this.#t("authoriseTitle", { system }), this.#t("authoriseHelp", { system })), begin, typing, this.#actions(view, first, { retry: false }),
    ], update };
  }
  /** Where the window that came back could not hand its proof over, its code is typed here. */
  #typing(system) {
    const mistake = node("p", { class: "mistake", id: "proof-mistake", role: "alert", hidden: true });
    const input = node("input", { id: "field-proof", class: "ltr", type: "text", maxlength: "20", autocomplete: "off", spellcheck: "false",
      autocapitalize: "characters", autocorrect: "off", "aria-describedby": "proof-help proof-mistake" });
    const one = { input, mistake };
    const send = async (event) => {
      event.preventDefault();
      if (this.#busy) return;
      const proof = input.value.trim();
      this.#say(one, proof.replace(/[\s-]/g, "").length === 8 ? "" : this.#t("proofMissing"));
      if (!mistake.hidden) { input.focus(); return; }
      input.value = "";
      await this.#act("confirm", { values: { proof } });
    };
    const typing = node("form", { class: "stack", novalidate: true, autocomplete: "off", hidden: true, on: { submit: send } },
      node("div", { class: "tight" }, node("label", { for: "field-proof" }, this.#t("proofLabel")),
        node("p", { class: "small soft", id: "proof-help" }, this.#t("proofHelp", { system })),
        node("div", { class: "with-button" }, input, this.#button(this.#t("confirm"), "", { name: "confirm", class: "first", submit: true })), mistake));
    let timer;
    const show = () => {
      typing.hidden = false;
      this.#announce(this.#t("proofHelp", { system }));
      this.#draw();
    };
    /** Whether the code is asked for: a moment after it can be, or when one was wrong. */
    const ask = (wanted, problem) => {
      if (!wanted) { clearTimeout(timer); timer = undefined; typing.hidden = true; return false; }
      if (problem && typing.hidden) typing.hidden = false;
      else timer ??= this.#later(TYPED_MS, show);
      return !typing.hidden;
    };
    return { typing, ask };
  }

  #checking(view, title) {
    const list = node("ol", { class: "checks" });
    const checks = this.#checks(list);
    const heading = this.#head(view, title);
    const apart = node("div");
    const foot = node("div");
    let told = "";
    const update = (now) => {
      checks(now);
      const stamp = JSON.stringify([now.problem, now.actions, broken(now)]);
      if (stamp === told) return;
      const [first, focused] = [!told, foot.contains(this.#root.activeElement)];
      told = stamp;
      const failed = broken(now);
      heading.querySelector("h2").textContent = failed ? this.#t("failedTitle") : title;
      apart.replaceChildren(...[this.#problem(this.#apart(now), { class: "problem spaced", tabindex: "-1" })].filter(Boolean));
      foot.replaceChildren(this.#actions(now, null));
      if (!first && failed && this.#root.activeElement) (apart.firstChild ?? list.querySelector(".problem") ?? heading.querySelector("h2")).focus();
      else if (focused) this.focus();
    };
    return { nodes: [heading, apart, list, foot], update };
  }
  #validate(view) { return this.#checking(view, this.#t("validateTitle")); }

  #register(view) {
    const system = this.#name(view);
    const hook = view.webhook;
    if (!byHand(view)) return this.#checking(view, this.#t("registerTitle", { system }));
    const { form, summary, update } = this.#form(view, "register", view.form?.submit || this.#t("registered"));
    const events = (hook.events ?? []).filter(Boolean);
    form.prepend(...[
      this.#copy(this.#t("webhookUrl"), hook.url),
      hook.has_secret && this.#secret(),
      events.length && node("div", { class: "tight" }, node("p", { class: "label" }, this.#t("events")), node("ul", { class: "chips" }, events.map((event) => node("li", {}, event)))),
    ].filter(Boolean));
    const guides = hook.guidance?.length ? hook.guidance : view.form?.guidance;
    return { nodes: [
      this.#head(view, this.#t("manualTitle", { system }), this.#t("manualHelp", { system })),
      this.#problem(view.problem ?? (view.checks ?? []).find((check) => check.explanation)?.explanation, { class: "problem spaced", tabindex: "-1" }), summary,
      node("div", { class: guides?.length ? "two" : "" }, this.#guidance(guides, this.#t("steps", { system })), form),
    ], update };
  }
  #copied(button, text, value) {
    return navigator.clipboard.writeText(text).then(() => {
      button.textContent = this.#t("copied");
      this.#later(2000, () => { button.textContent = this.#t("copy"); });
      this.#announce(this.#t("copied"));
    }, () => {
      getSelection()?.selectAllChildren(value);
      this.#announce(this.#t("copyFailed"));
      this.#note(this.#t("copyFailed"));
    });
  }
  #copy(label, text) {
    const value = node("code", { class: "value" }, text ?? "");
    const button = node("button", { type: "button", "aria-label": `${this.#t("copy")}: ${label}`, on: { click: () => this.#copied(button, text ?? "", value) } }, this.#t("copy"));
    return node("div", { class: "tight" }, node("p", { class: "label" }, label), node("div", { class: "with-button" }, value, button));
  }
  /** What the customer pastes over there: asked for when it is wanted, and gone a minute later. */
  #secret() {
    const label = this.#t("signingSecret");
    const hidden = "••••••••••••••••";
    const value = node("code", { class: "value" }, hidden);
    const { signal } = this.#life;
    const ask = async () => {
      try { return (await this.#api.ask("reveal", signal, {})).secret; } catch (error) {
        if (error instanceof Refusal && error.final) this.#refused(error);
        else if (!signal.aborted) this.#note(this.#why(error, {}));
        return "";
      }
    };
    let timer;
    const hide = () => { clearTimeout(timer); value.textContent = hidden; show.textContent = this.#t("show"); };
    const show = node("button", { type: "button", "aria-label": `${this.#t("show")}: ${label}`, on: { click: async () => {
      if (value.textContent !== hidden) { hide(); return; }
      const secret = await ask();
      if (!secret) return;
      value.textContent = secret;
      show.textContent = this.#t("hide");
      timer = this.#later(REVEALED_MS, hide);
    } } }, this.#t("show"));
    const copy = node("button", { type: "button", "aria-label": `${this.#t("copy")}: ${label}`, on: { click: async () => {
      const secret = await ask();
      if (secret) await this.#copied(copy, secret, value);
    } } }, this.#t("copy"));
    return node("div", { class: "tight" }, node("p", { class: "label" }, label), node("div", { class: "with-button" }, value, show, copy));
  }

  #test(view) {
    const system = this.#name(view);
    const list = node("ol", { class: "checks" });
    const checks = this.#checks(list);
    const until = view.test?.waiting_until ? new Date(view.test.waiting_until) : null;
    const time = until && !Number.isNaN(+until) && until > Date.now() ? this.#t("testUntil", { time: until.toLocaleTimeString(localeOf(view), { hour: "2-digit", minute: "2-digit" }) }) : "";
    const allowed = new Set(view.actions ?? []);
    const send = allowed.has("send_test") && this.#button(this.#t("sendTest"), "send_test", { class: "first" });
    return { nodes: [
      this.#head(view, this.#t("testTitle", { system }), `${this.#t("testHelp")} ${time}`.trim()),
      this.#problem(this.#apart(view), { class: "problem spaced", tabindex: "-1" }),
      node("div", { class: view.test?.guidance?.length ? "two" : "" }, this.#guidance(view.test?.guidance, this.#t("steps", { system })), node("div", { class: "stack" }, list, this.#arrived(view))),
      this.#actions(view, send || null),
    ], update: checks };
  }
  #arrived(view) {
    if (!view.arrived) return null;
    const parts = String(view.arrived.at ?? "").split("/");
    const [offset, partition] = [parts.pop(), parts.pop()];
    const rows = [["requestId", view.arrived.request_id], ["topic", parts.join("/")], ["partition", partition], ["offset", offset]];
    return node("details", {}, node("summary", {}, this.#t("arrived")), node("dl", {}, rows.filter(([, text]) => text).flatMap(([name, text]) => [
      node("dt", {}, this.#t(name)), node("dd", { class: "code" }, text)])));
  }

  #connected(view) {
    const head = node("div", { class: "head" }, icon("ring", "big good"), node("div", {},
      node("h2", { tabindex: "-1" }, this.#t("connectedTitle", { system: this.#name(view) })), node("p", { class: "soft" }, this.#t("connectedHelp"))));
    return { nodes: [head, node("div", { class: "stack" },
      view.account && node("p", {}, node("span", { class: "soft" }, `${this.#t("account")}: `), node("strong", {}, view.account)), this.#arrived(view)),
    node("div", { class: "actions" }, node("button", { type: "button", class: "first", on: { click: () => this.#emit("close", { reason: "done" }) } }, this.#t("finish")))] };
  }

  static {
    // A step by its name; private methods, so the table is made in here.
    STEPS.loading = function () { return this.#loading(); };
    STEPS.choose = function (view) { return this.#choose(view); };
    STEPS.details = function (view) { return this.#details(view); };
    STEPS.authorise = function (view) { return this.#authorise(view); };
    STEPS.validate = function (view) { return this.#validate(view); };
    STEPS.register = function (view) { return this.#register(view); };
    STEPS.test = function (view) { return this.#test(view); };
    STEPS.connected = function (view) { return this.#connected(view); };
    STEPS.cancelled = function () { return this.#end("cancelledTitle", this.#t("cancelledHelp")); };
    STEPS.expired = function () { return this.#end("expiredTitle", this.#t("expiredHelp")); };
    STEPS.cancelled.last = STEPS.expired.last = true;
  }
}

customElements.define("hookline-connect", HooklineConnect);
})();
