"use strict";
(() => {
const $ = (id) => document.getElementById(id);
const saved = $("saved");
const NONE = { nodes: {}, spans: {}, loads: {}, points: [], waits: [], errors: [], caps: [], rates: [],
  breakers: [], buffers: [], joins: [], executors: [] };
let view = null, facts = {}, drawing = "", template = "", picked = "", received = 0;
let dirty = new Set(), frame = 0, stream = null, ended = false, lost = 0;
const rows = new Map(), shapes = new Map(), paces = new Map(), folded = new Set();

// All text goes in as text: names, errors and items may be anything.
function make(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "class") element.className = value;
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}
const set = (element, text) => { if (element.textContent !== text) element.textContent = text; };
const count = (number) => number.toLocaleString("en");
const brief = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format;
const plural = (number, one, many) => `${count(number)} ${number === 1 ? one : many}`;
function duration(s) {
  if (s === null || s === undefined) return "";
  if (s < 0.001) return "<1 ms";
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 60) return `${+s.toFixed(1)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
}
function pace(number) {
  if (!number || number < 0.05) return "";
  return number < 10 ? number.toFixed(1) : count(Math.round(number));
}
const ends = (node) => (node.ok || 0) + (node.failed || 0) + (node.skipped || 0) + (node.cancelled || 0);
const isOver = () => ended || !view || view.state === "finished" || view.state === "failed";

// --- what comes ------------------------------------------------------------------------------

function take(message) {
  received = performance.now();
  if (message.full) {
    view = { ...NONE, ...message };
    Object.keys(view.nodes).concat(Object.keys(view.spans)).forEach((name) => dirty.add(name));
    for (const error of view.errors) error.seen = true;
  } else if (view) {
    for (const [name, value] of Object.entries(message)) {
      if (name === "nodes" || name === "spans") {
        Object.assign(view[name], value);
        Object.keys(value).forEach((one) => dirty.add(one));
      } else if (name === "loads") {
        for (const [one, loads] of Object.entries(value)) {
          const known = (view.loads[one] || []).filter((load) => load[0] < loads[0][0]).concat(loads);
          view.loads[one] = known.length > 240 ? known.filter((_, i) => i % 2 === 0) : known;
        }
      } else if (name === "points") {
        view.points.push(...value);
        if (view.points.length > 800) view.points = view.points.filter((_, i) => i % 2 === 0);
      } else if (name === "errors") {
        const known = new Set(value.map((one) => one.of));
        view.errors = view.errors.filter((one) => !known.has(one.of)).concat(value).slice(-60);
      } else view[name] = value;
    }
  }
  for (const name of dirty) measure(name);
  draw();
}

function measure(name) {
  const node = view.nodes[name], seconds = view.seconds;
  if (!node || seconds === null) return;
  const done = ends(node), last = paces.get(name);
  if (!last || done < last.done) paces.set(name, { at: seconds, done, value: 0 });
  else if (seconds - last.at >= 0.5) {
    const now = (done - last.done) / (seconds - last.at);
    paces.set(name, { at: seconds, done, value: last.value ? last.value * 0.5 + now * 0.5 : now });
  }
}

function draw() {
  if (!frame) frame = requestAnimationFrame(() => { frame = 0; if (view) drawAll(); });
}

function drawAll() {
  const waiting = new Map();
  for (const wait of view.waits) if (wait.kind !== "hook") waiting.set(wait.node, (waiting.get(wait.node) || 0) + wait.count);
  if (view.waits !== drawAll.waits) {  // nodes that wait, or do no more, look different
    for (const name of waiting.keys()) dirty.add(name);
    for (const name of drawAll.waiting || []) dirty.add(name);
    drawAll.waits = view.waits;
    drawAll.waiting = [...waiting.keys()];
    later();
  }
  drawHead();
  for (const name of dirty) drawNode(name, waiting.get(name) || 0);
  dirty = new Set();
  $("nodes").hidden = !rows.size;
  $("only").parentElement.hidden = rows.size < 15;
  drawStages();
  drawLimits();
  drawErrors();
  drawTime();
}

// --- the head --------------------------------------------------------------------------------

const BADGES = { running: "is-running", draining: "is-draining", finished: "is-done", failed: "is-failed" };

function drawHead() {
  set($("name"), view.name);
  $("name").title = view.name;
  document.title = `${view.state === "running" ? "" : `${view.state}: `}${view.name} · kaygraph`;
  const unknown = lost < 0 && ["running", "draining"].includes(view.state);
  set($("state"), unknown ? "ended, unseen" : view.state);
  $("state").className = `badge ${unknown ? "quiet" : BADGES[view.state] || ""}`;
  $("failed").hidden = !view.error;
  set($("failed").firstElementChild, view.error || "");
  $("save").hidden = !!saved || !template;
  $("drain").hidden = !facts.control || isOver();
  $("drain").disabled = view.state === "draining";
  drawFigures();
}

function drawFigures() {
  if (!view) return;
  const nodes = Object.values(view.nodes);
  const done = nodes.reduce((sum, node) => sum + ends(node), 0);
  const retried = nodes.reduce((sum, node) => sum + (node.retried || 0), 0);
  const failed = nodes.reduce((sum, node) => sum + (node.failed || 0), 0);
  const skipped = nodes.reduce((sum, node) => sum + (node.skipped || 0), 0);
  const seconds = view.seconds === null ? null
    : view.seconds + (isOver() || saved || lost ? 0 : (performance.now() - received) / 1000);
  const rates = speeds(), last = rates.length ? rates[rates.length - 1][1] : 0;
  figure("time", duration(seconds));
  figure("items", done ? count(done) : "");
  figure(isOver() ? "items/s on average" : "items/s", pace(isOver() ? done / (view.seconds || 1) : last));
  figure(isOver() ? "items/s" : "items/s on average", "");
  figure("retried", retried ? count(retried) : "");
  figure("failed", failed ? count(failed) : "");
  figure("skipped", skipped ? count(skipped) : "");
}

function figure(name, text) {
  const known = figure.known = figure.known || new Map();
  if (!known.has(name)) {
    if (!text) return;
    const value = make("dd");
    known.set(name, value);
    $("figures").append(make("div", {}, make("dt", {}, name), value));
  }
  known.get(name).parentElement.hidden = !text;
  set(known.get(name), text);
}

function later() {  // sentences that change ten times a second cannot be read
  const left = (later.next || 0) - performance.now();
  clearTimeout(later.timer);
  if (left > 0 && !isOver()) { later.timer = setTimeout(later, left); return; }
  later.next = performance.now() + 500;
  drawWaits();
}

const KINDS = { permit: "permits", room: "buffer full", items: "no items", thread: "threads",
  process: "processes", answer: "a person", hook: "runs", loop: "loop held" };

function drawWaits() {
  const waits = view.waits, over = isOver();
  $("why").hidden = over && !waits.length;
  $("why").classList.toggle("none", !waits.length);
  const items = waits.map((wait) => make("li", {},
    make("span", { class: `badge${wait.kind === "hook" ? " is-running" : ""}` }, KINDS[wait.kind] || wait.kind),
    make("span", {}, wait.text)));
  if (view.more_waits) items.push(make("li", { class: "note" }, `and ${view.more_waits} more`));
  if (!waits.length) items.push(make("li", {}, "Nothing waits."));
  $("waits").replaceChildren(...items);
  const real = waits.filter((one) => one.kind !== "hook");
  announce(real.length ? `Waiting: ${real.slice(0, 3).map((one) => `${one.node}, ${KINDS[one.kind] || one.kind}`).join("; ")}`
    : over ? `The run has ${view.state === "failed" ? "failed" : "finished"}` : "Nothing waits");
}

function announce(text) {  // not ten times a second, as a screen reader would read nothing else
  announce.next = text;
  if (announce.timer) return;
  set($("said"), text);
  announce.timer = setTimeout(() => {
    announce.timer = 0;
    if ($("said").textContent !== announce.next) announce(announce.next);
  }, 5000);
}

// --- nodes -----------------------------------------------------------------------------------

function looks(node, waits) {
  if (node.state === "failed") return "is-failed";
  if (node.state !== "running") return "is-done";
  return waits && waits >= (node.in_flight || 0) ? "is-waiting" : "is-running";
}
const WORDS = { "is-failed": "failed", "is-done": "done", "is-waiting": "waiting", "is-running": "running" };

function drawNode(name, waits) {
  const node = view.nodes[name];
  if (!node) return;
  const row = rows.get(name) || addRow(name), cells = row.cells;
  const look = looks(node, waits), done = ends(node);
  const runs = (node.runs || 0) + (node.running || 0);
  row.element.className = [look, name === picked ? "is-picked" : "", isFolded(name) ? "folded" : "",
    node.failed || node.failed_runs ? "some" : ""].join(" ");
  if (row.look !== look) {
    row.look = look;
    cells[1].replaceChildren(make("span", { class: `badge ${look}` }, WORDS[look]));
  }
  const share = node.total ? Math.min(1, done / node.total) : look === "is-done" ? 1 : 0;
  const known = node.total !== undefined && node.total !== null;
  set(row.items, done || node.items ? count(done) + (known ? ` of ${count(node.total)}` : "")
    + (node.skipped ? `, ${count(node.skipped)} skipped` : "") : "");
  row.bar.parentElement.hidden = !node.total;
  row.bar.style.width = `${100 * share}%`;
  set(cells[3], look === "is-running" || look === "is-waiting" ? pace((paces.get(name) || {}).value)
    : node.seconds > 0.05 && done ? pace(done / node.seconds) : "");
  set(cells[4], node.in_flight ? count(node.in_flight)
    + (node.limit || node.workers ? ` of ${count(node.limit || node.workers)}` : "") : "");
  set(cells[5], node.waiting ? count(node.waiting) : "");
  set(cells[6], node.retried ? count(node.retried) : "");
  const failed = (node.failed || 0) + (node.failed ? 0 : node.failed_runs || 0);
  set(cells[7], failed ? count(failed) : "");
  cells[7].className = failed ? "bad" : "";
  set(cells[8], node.runs ? duration(node.seconds) + (runs > 1 ? ` in ${count(runs)} runs` : "") : "");
  const shape = shapes.get(name);
  if (!shape) return;
  shape.group.classList.remove("is-failed", "is-done", "is-waiting", "is-running");
  shape.group.classList.add(look);
  shape.group.classList.toggle("is-picked", name === picked);
  if (!shape.meter) return;
  const short = done || node.items ? brief(done) + (node.total ? ` / ${brief(node.total)}` : "")
    : runs > 1 ? `${brief(runs)} ×` : "";
  set(shape.count, short);
  shape.group.classList.toggle("has-count", !!short);
  shape.meter.setAttribute("width", shape.width * (node.total ? share : 0));
}

const parentOf = (name) => {
  for (let at = name.lastIndexOf("/"); at > 0; at = name.lastIndexOf("/", at - 1)) {
    const parent = name.slice(0, at);
    if (rows.has(parent)) return parent;
  }
  return "";
};
function isFolded(name) {
  for (let one = parentOf(name); one; one = parentOf(one)) if (folded.has(one)) return true;
  return false;
}

function addRow(name) {
  const parent = parentOf(name), depth = parent ? rows.get(parent).depth + 1 : 0;
  const labels = ["", "", "", "per s", "in flight", "waiting", "retried", "failed", "time"];
  const cells = labels.map((label) => make("td", label ? { "data-label": label } : {}));
  const items = make("span"), bar = make("i");
  const button = make("button", { type: "button", class: "link", title: name, onclick: () => pick(name) },
    parent ? name.slice(parent.length + 1) : name);
  cells[0].append(button);
  cells[0].style.paddingLeft = depth ? `${0.5 + depth * 1.2}em` : "";
  cells[2].append(items, make("span", { class: "bar" }, bar));
  const element = make("tr", {}, ...cells);
  const row = { element, cells, items, bar, depth, look: "", button };
  const body = $("nodes").querySelector("tbody");
  let before = null;
  if (parent) {
    let last = rows.get(parent).element;
    for (const [other, one] of rows)
      if (other.startsWith(`${parent}/`) && last.compareDocumentPosition(one.element) & 4) last = one.element;
    before = last.nextSibling;
    addFold(parent);
  }
  body.insertBefore(element, before);
  rows.set(name, row);
  return row;
}

function addFold(name) {
  const row = rows.get(name);
  if (row.fold) return;
  row.fold = make("button", { type: "button", class: "fold", "aria-expanded": "true",
    "aria-label": `Parts of ${name}`, onclick: () => {
      folded.has(name) ? folded.delete(name) : folded.add(name);
      row.fold.setAttribute("aria-expanded", String(!folded.has(name)));
      set(row.fold, folded.has(name) ? "▸" : "▾");
      for (const other of rows.keys()) if (other.startsWith(`${name}/`)) dirty.add(other);
      draw();
    } }, "▾");
  row.cells[0].prepend(row.fold);
}

function pick(name) {
  const before = picked;
  picked = picked === name ? "" : name;
  for (const one of [before, name]) if (one) dirty.add(one);
  const shape = shapes.get(name);
  if (picked && shape) shape.group.scrollIntoView({ block: "nearest", inline: "center" });
  draw();
}

// --- the drawing -----------------------------------------------------------------------------

function showDrawing(text) {
  if (!text) return;
  const parsed = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
  if (parsed.nodeName !== "svg") return;
  const svg = document.importNode(parsed, true);
  shapes.clear();
  for (const group of svg.querySelectorAll("[data-node]")) {
    const shape = { group }, outline = group.querySelector(".kaygraph-shape");
    const name = group.getAttribute("data-node");
    if (group.classList.contains("kaygraph-node") && outline) {
      const box = outline.tagName === "rect"
        ? ["x", "y", "width", "height"].map((one) => +outline.getAttribute(one)) : null;
      shape.outline = outline;
      if (box) addMeter(shape, ...box);
    }
    group.addEventListener("click", (event) => {
      event.stopPropagation();
      const row = rows.get(name);
      pick(name);
      if (row && picked) row.element.scrollIntoView({ block: "nearest" });
    });
    shapes.set(name, shape);
  }
  $("drawing").replaceChildren(svg);
  $("graph").hidden = false;
  for (const shape of shapes.values()) if (shape.outline && !shape.meter) {
    const box = shape.outline.getBBox();
    addMeter(shape, box.x, box.y, box.width, box.height);
  }
  const scale = Math.min(1, svg.parentElement.clientWidth / +svg.getAttribute("width"),
    0.6 * window.innerHeight / +svg.getAttribute("height"));
  if (view) Object.keys(view.nodes).forEach((name) => dirty.add(name));
  draw();
  if (scale < 0.25) { fit(false); requestAnimationFrame(() => center()); }
}

function addMeter(shape, x, y, width, height) {
  const part = (tag, props) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(props)) element.setAttribute(name, value);
    shape.group.append(element);
    return element;
  };
  shape.width = width - 16;
  shape.meter = part("rect", { class: "meter", x: x + 8, y: y + height - 5, width: 0, height: 2.5, rx: 1.2 });
  shape.count = part("text", { class: "count", x: x + width / 2, y: y + height - 8.5 });
}

function center() {  // what runs, or where it begins
  const group = svgNode(".is-running, .is-waiting") || svgNode(".kaygraph-node");
  if (!group) return;
  const box = group.getBoundingClientRect(), around = $("drawing").getBoundingClientRect();
  $("drawing").scrollLeft += box.left + box.width / 2 - around.left - around.width / 2;
  $("drawing").scrollTop += box.top + box.height / 2 - around.top - around.height / 2;
}
const svgNode = (selector) => $("drawing").querySelector(selector);

function fit(whole) {
  $("fit").setAttribute("aria-pressed", String(whole));
  $("drawing").classList.toggle("whole", !whole);
}

// --- stages and limits -----------------------------------------------------------------------

function drawStages() {
  const found = Object.entries(view.nodes).filter(([, node]) => node.stage);
  $("stages").hidden = !found.length;
  if (!found.length) return;
  $("stages").querySelector("ul").replaceChildren(...found.map(([name, { stage }]) => {
    const all = stage.busy_s + stage.blocked_s + stage.starved_s || 1;
    const part = (value) => `${Math.round(100 * value / all)} %`;
    const bar = make("span", { class: "bar" });
    for (const [kind, value] of [["busy", stage.busy_s], ["blocked", stage.blocked_s], ["starved", stage.starved_s]]) {
      const piece = make("i", { class: kind });
      piece.style.width = `${100 * value / all}%`;
      bar.append(piece);
    }
    const before = view.buffers.find((one) => one.after === name);
    const words = `busy ${part(stage.busy_s)}, blocked ${part(stage.blocked_s)}, starved ${part(stage.starved_s)}`;
    return make("li", {},
      make("div", { class: "row" }, make("span", {}, name), make("span", {},
        plural(stage.workers, "worker", "workers")
        + (before ? `, ${before.items} of ${before.size} items before it` : ""))),
      bar, make("div", { class: "note" }, words));
  }));
}

const held = (holders) => Object.entries(holders || {}).map(([name, number]) => `${name} ${number}`).join(", ");

function drawLimits() {
  const key = JSON.stringify([view.caps, view.rates, view.breakers, view.joins, view.executors]);
  if (drawLimits.key === key) return;
  drawLimits.key = key;
  const items = [];
  const add = (title, state, share, note) => items.push(make("li", {},
    make("div", { class: "row" }, make("span", {}, title), make("span", {}, state)),
    share === null ? null : meter(share), note ? make("div", { class: "note" }, note) : null));
  const line = (number) => number ? `, ${plural(number, "waits", "wait")}` : "";
  // What each node's own workers do stands in the table.
  for (const cap of view.caps) if (cap.waiting || cap.key !== null || !cap.owner.startsWith("'"))
    add(cap.owner + (cap.key === null ? "" : `, key ${cap.key}`),
      `${cap.held} of ${cap.size} permits${line(cap.waiting)}`, cap.held / (cap.size || 1), held(cap.holders));
  for (const rate of view.rates)
    add(`Rate of ${rate.node}`, `${rate.calls} per ${duration(rate.per)}${line(rate.waiting)}`, rate.used,
      rate.seconds_left === null ? "" : `the next may begin in ${duration(rate.seconds_left)}`);
  for (const one of view.breakers)
    add(`Circuit breaker of ${one.node}${one.name ? ` (${one.name})` : ""}`, one.state.replace("_", " "), null,
      [one.reason, one.seconds_left === null ? "" : `next call in ${duration(one.seconds_left)}`].filter(Boolean).join("; "));
  for (const one of view.joins) add(`Join ${one.node}`, "waits for", null, one.holders.join(", "));
  for (const one of view.executors) {
    const calls = Object.values(one.calls).reduce((sum, number) => sum + number, 0);
    add(one.kind === "executor" ? "Executor" : one.kind === "thread" ? "Threads" : "Processes",
      `${calls}${one.size ? ` of ${one.size}` : ""} busy`, one.size ? calls / one.size : null, held(one.calls));
  }
  $("limits").hidden = !items.length;
  $("limits").querySelector("ul").replaceChildren(...items);
  $("limits").classList.toggle("wide", $("stages").hidden);
  $("stages").classList.toggle("wide", !items.length);
}

function meter(share) {
  const piece = make("i"), bar = make("span", { class: share >= 1 ? "bar full" : "bar" }, piece);
  piece.style.width = `${100 * Math.max(0, Math.min(1, share))}%`;
  return bar;
}

// --- errors ----------------------------------------------------------------------------------

function drawErrors() {
  $("errors").hidden = !view.errors.length;
  if (!view.errors.length || drawErrors.last === view.errors) return;
  drawErrors.last = view.errors;
  const list = $("errors").querySelector("ol");
  const total = view.failed || 0;
  set($("errors-title"), total > view.errors.length ? `Errors: the last of ${count(total)}` : "Errors");
  list.replaceChildren(...[...view.errors].reverse().map((one) => {
    const what = one.attempt ? `attempt ${one.attempt} failed, the next in ${duration(one.wait_s)}` : "failed";
    const where = one.node + (one.item === null ? "" : `, item ${one.item}`);
    return make("li", one.attempt ? { class: "retry" } : {},
      make("div", { class: "row" }, make("span", {}, where), make("span", {}, `${what}, at ${duration(one.at)}`)),
      make("code", {}, one.error), ...one.notes.map((note) => make("div", { class: "note" }, note)));
  }));
}

// --- over time -------------------------------------------------------------------------------

function speeds() {
  const found = [];
  let last = view.points[0];
  for (const point of view.points) {
    if (!last || point[0] - last[0] < 0.4) continue;
    found.push([point[0], Math.max(0, point[1] - last[1]) / (point[0] - last[0])]);
    last = point;
  }
  return found;
}

function pen(canvas, height) {
  const width = canvas.clientWidth, scale = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";
  return { context, width };
}

function drawTime() {
  const now = performance.now();
  if (!isOver() && drawTime.at && now - drawTime.at < 240) return;
  drawTime.at = now;
  const names = [...rows.keys()].filter((name) => view.spans[name]).slice(0, 500);
  $("time").hidden = !names.length;
  if (!names.length) return;
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const last = Math.max(view.seconds || 0, 0.001, ...names.map((name) => {
    const spans = view.spans[name];
    return spans.length ? spans[spans.length - 1][1] || 0 : 0;
  }));
  $("filled").hidden = !Object.values(view.loads).some((one) => one.length > 2);
  drawSpeeds(colour, last);
  drawBars(names, colour, last);
}

function drawSpeeds(colour, last) {
  const found = speeds(), canvas = $("line");
  canvas.hidden = found.length < 3;
  if (canvas.hidden) return;
  const { context, width } = pen(canvas, 70), left = gutter(width);
  const most = Math.max(...found.map((one) => one[1])) || 1;
  const x = (at) => left + (width - left - 6) * at / last, y = (value) => 64 - 52 * value / most;
  context.beginPath();
  context.moveTo(x(found[0][0]), 64);
  for (const [at, value] of found) context.lineTo(x(at), y(value));
  context.lineTo(x(found[found.length - 1][0]), 64);
  context.fillStyle = colour("run-bg");
  context.fill();
  context.beginPath();
  found.forEach(([at, value], i) => i ? context.lineTo(x(at), y(value)) : context.moveTo(x(at), y(value)));
  context.strokeStyle = colour("run");
  context.lineWidth = 1.5;
  context.stroke();
  context.fillStyle = colour("soft");
  context.fillText(`${pace(most)} items/s`, 0, 12);
  canvas.setAttribute("aria-label", `Items per second over time; ${pace(most)} at most`);
}

const gutter = (width) => Math.min(190, width * 0.34);

function drawBars(names, colour, last) {
  const height = 19, { context, width } = pen($("bars").firstElementChild, names.length * height + 22);
  const left = gutter(width), x = (at) => left + (width - left - 6) * Math.min(1, at / last);
  const fills = { "is-running": "run", "is-waiting": "wait", "is-failed": "bad", "is-done": "ok" };
  const steps = [1, 2, 5].flatMap((one) => [-3, -2, -1, 0, 1, 2, 3, 4].map((e) => one * 10 ** e)).sort((a, b) => a - b);
  const step = steps.find((one) => last / one <= Math.max(2, (width - left) / 110)) || last;
  context.textAlign = "center";
  for (let at = 0; at <= last; at += step) {
    context.fillStyle = colour("rule");
    context.fillRect(x(at), 18, 1, names.length * height);
    context.fillStyle = colour("soft");
    context.fillText(at ? duration(at) : "0", Math.min(x(at), width - 22), 8);
  }
  context.textAlign = "left";
  names.forEach((name, number) => {
    const top = 20 + number * height, row = rows.get(name);
    context.fillStyle = colour("text");
    context.fillText(cut(context, name, left - 12), 0, top + height / 2);
    const fill = fills[row.look] || "run", loads = view.loads[name] || [];
    context.fillStyle = colour(loads.length > 2 ? `${fill}-bg` : fill);
    for (const [from, to] of view.spans[name]) {
      const begin = x(from);
      context.fillRect(begin, top + 3, Math.max(2, x(to === null ? last : to) - begin), height - 6);
    }
    if (loads.length < 3) return;  // how many of its workers were busy
    const node = view.nodes[name], most = Math.max(node.workers || 1, ...loads.map((one) => one[1]));
    context.fillStyle = colour(fill);
    loads.forEach(([at, busy], i) => {
      const until = i + 1 < loads.length ? loads[i + 1][0] : node.state === "running" ? last : at;
      const tall = (height - 6) * busy / most;
      context.fillRect(x(at), top + height - 3 - tall, Math.max(0, x(until) - x(at)) + 0.5, tall);
    });
  });
}

function cut(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let keep = text.length;
  while (keep > 1 && context.measureText(`…${text.slice(-keep)}`).width > width) keep -= 1;
  return `…${text.slice(-keep)}`;
}

// --- recorded runs ---------------------------------------------------------------------------

const opened = new Set(), shown = new Map();

async function readJournal() {
  if (document.hidden || readJournal.busy) return;
  readJournal.busy = true;
  try {
    const answer = await fetch("/journal");
    if (!answer.ok) return say($("journal").querySelector(".address"), await answer.text());
    const { runs, address, more } = await answer.json();
    $("journal").hidden = false;
    set($("journal").querySelector(".address"), address + (more ? `, and ${plural(more, "more run", "more runs")}` : ""));
    const list = $("journal").querySelector("ul");
    const known = new Set(runs.map((one) => one.run));
    for (const [run, entry] of shown) if (!known.has(run)) { entry.item.remove(); shown.delete(run); }
    for (const [number, info] of runs.entries()) await showRun(list, number, info);
    readJournal.failed = 0;
  } catch { readJournal.failed = (readJournal.failed || 0) + 1; } finally { readJournal.busy = false; }
}
const say = (element, text) => { set(element, text); $("journal").hidden = false; };
const LOOKS = { done: "is-done", failed: "is-failed", running: "is-running", waits: "is-waiting", interrupted: "is-waiting" };

async function showRun(list, number, info) {
  let entry = shown.get(info.run);
  if (!entry) {
    const details = make("div", { hidden: true });
    const button = make("button", { type: "button", class: "link", "aria-expanded": "false",
      onclick: () => { opened.has(info.run) ? opened.delete(info.run) : opened.add(info.run); readJournal(); } }, info.run);
    const badge = make("span", { class: "badge" }), about = make("span");
    entry = { item: make("li", {}, make("div", { class: "row" }, make("span", {}, button, " ", badge), about), details),
      details, button, badge, about, text: "" };
    shown.set(info.run, entry);
    if (number < 10 && ["waits", "running"].includes(info.status)) opened.add(info.run);
  }
  if (list.children[number] !== entry.item) list.insertBefore(entry.item, list.children[number] || null);
  entry.badge.className = `badge ${LOOKS[info.status] || ""}`;
  set(entry.badge, info.status);
  set(entry.about, `${info.graph}, ${new Date(info.updated * 1000).toLocaleString()}`);
  const open = opened.has(info.run);
  entry.button.setAttribute("aria-expanded", String(open));
  entry.details.hidden = !open;
  const key = JSON.stringify(info), lives = ["waits", "running"].includes(info.status);
  if (!open || (entry.text && entry.key === key && !lives)) return;
  entry.key = key;
  const answer = await fetch(`/journal/${encodeURIComponent(info.run)}`);
  if (!answer.ok) return;
  const text = await answer.text();
  if (text === entry.text || entry.details.contains(document.activeElement)) return;
  entry.text = text;
  const record = JSON.parse(text);
  entry.details.replaceChildren(
    record.error ? make("p", { class: "note" }, record.error) : "",
    record.nodes.length ? make("ul", {}, ...record.nodes.map((node) => make("li", { class: "row" },
      make("span", {}, node.name), make("span", {}, [plural(node.results, "result", "results"),
        node.failed ? `${node.failed} failed` : "", duration(node.seconds)].filter(Boolean).join(", "))))) : "",
    ...record.waits.map((wait) => question(info.run, wait)));
}

function question(run, wait) {
  const said = make("p", { role: "status" });
  const form = make("form", {}, make("strong", {}, wait.id),
    wait.ask ? make("p", { class: "ask" }, wait.ask) : null);
  if (!facts.control) {
    form.append(make("p", { class: "note" }, "It waits for an answer; this page may only look."));
    return form;
  }
  const field = fieldOf(wait.schema || {}, "answer");
  const button = make("button", {}, "Answer");
  form.append(field.element, make("div", {}, button), said);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    let value;
    try { value = field.value(); } catch (error) { return set(said, `This is no JSON: ${error.message}`); }
    button.disabled = true;
    try {
      const answer = await fetch(`/journal/${encodeURIComponent(run)}/answer`, { method: "POST",
        headers: { "Content-Type": "application/json" }, body: JSON.stringify({ name: wait.id, value }) });
      set(said, answer.ok ? "Answered." : await answer.text());
      if (answer.ok) { shown.get(run).text = ""; document.activeElement.blur(); setTimeout(readJournal, 300); setTimeout(readJournal, 1300); }
      else button.disabled = false;
    } catch (error) { set(said, error.message); button.disabled = false; }
  });
  return form;
}

function fieldOf(schema, label, needed = true) {
  const type = schema.type, about = schema.title || label;
  const wrap = (input, kind) => make("label", kind ? { class: kind } : {}, ...(kind ? [input, about] : [about, input]));
  if (Array.isArray(schema.enum)) {
    const options = schema.enum.map((one, i) => make("option", { value: String(i) },
      typeof one === "string" ? one : JSON.stringify(one)));
    if (!needed) options.unshift(make("option", { value: "" }, ""));
    const input = make("select", {}, ...options);
    return { element: wrap(input), value: () => input.value === "" ? undefined : schema.enum[+input.value] };
  }
  if (type === "boolean") {
    const input = make("select", {}, ...["", "yes", "no"].map((one) => make("option", { value: one }, one)));
    input.required = needed;
    return { element: wrap(input), value: () => input.value === "" ? undefined : input.value === "yes" };
  }
  if (type === "string") {
    const input = make(schema.maxLength && schema.maxLength < 80 || label !== "answer" ? "input" : "textarea", { required: needed && !!schema.minLength });
    return { element: wrap(input), value: () => input.value === "" && !needed ? undefined : input.value };
  }
  if (type === "number" || type === "integer") {
    const input = make("input", { type: "number", step: type === "integer" ? "1" : "any", required: needed });
    if (schema.minimum !== undefined) input.min = schema.minimum;
    if (schema.maximum !== undefined) input.max = schema.maximum;
    return { element: wrap(input), value: () => input.value === "" ? undefined : Number(input.value) };
  }
  if (type === "object" && schema.properties && !schema.additionalProperties) {
    const must = new Set(schema.required || []);
    const fields = Object.entries(schema.properties).map(([name, one]) => [name, fieldOf(one || {}, name, must.has(name))]);
    return { element: make("div", {}, ...fields.map(([, one]) => one.element)),
      value: () => Object.fromEntries(fields.map(([name, one]) => [name, one.value()]).filter(([, value]) => value !== undefined)) };
  }
  const input = make("textarea", { value: "", spellcheck: false, required: needed });
  return { element: make("label", {}, `${about}, as JSON`, input),
    value: () => input.value.trim() === "" && !needed ? undefined : JSON.parse(input.value) };
}

// --- the server ------------------------------------------------------------------------------

// A browser has six streams to a server for all its tabs, so one that is hidden asks in between.
function connect() {
  clearTimeout(connect.later);
  if (ended || stream || !view) return;
  if (document.hidden) {
    connect.later = setTimeout(async () => {
      try { await load(); } catch { return gone(); }
      connect();
    }, 2000);
    return;
  }
  stream = new EventSource(`/events/${encodeURIComponent(view.run)}`);
  stream.onmessage = (event) => { lost = 0; link(""); take(JSON.parse(event.data)); };
  stream.addEventListener("end", finish);
  stream.onerror = () => {
    lost += 1;
    if (stream.readyState === EventSource.CLOSED) finish();  // 204: the run is over
    else if (lost > 2) gone();
    else link("connection lost, trying again");
  };
}
function close() { if (stream) stream.close(); stream = null; }
const link = (text) => { set($("link"), text); $("link").hidden = !text; };
function gone() { close(); ended = true; lost = -1; link("the program has ended"); draw(); }
async function finish() {
  const known = ["finished", "failed"].includes(view.state);
  close();
  ended = true;
  link("");
  if (!known) try { await load(); } catch { gone(); }
  drawAll.waits = null;
  draw();
}

async function load() {
  const run = new URLSearchParams(location.search).get("run");
  const answer = await fetch(`/state${run ? `?run=${encodeURIComponent(run)}` : ""}`);
  if (!answer.ok) throw new Error(await answer.text());
  facts = await answer.json();
  if (facts.over) ended = true;
  if (facts.state) take({ ...facts.state, full: true });
  else { set($("state"), "no run"); set($("name"), "kaygraph"); }
  $("runs").hidden = facts.runs.length < 2;
  $("runs").replaceChildren(...facts.runs.map((one) => make("a", { href: `/?run=${encodeURIComponent(one.run)}` },
    `${one.name}${one.over ? "" : " (running)"}`)));
}

function save() {
  const text = JSON.stringify({ state: { ...view, full: true }, drawing }).replace(/</g, "\\u003c");
  const page = template.replace(/(id="saved">)\{\}/, (_, before) => before + text);
  const address = URL.createObjectURL(new Blob([page], { type: "text/html" }));
  make("a", { href: address, download: `${view.name.replace(/[^\p{L}\p{N} _.-]/gu, "_")}.html` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

function awaitRun() {
  const timer = setInterval(async () => {
    try {
      if ((await (await fetch("/state")).json()).state) location.reload();
    } catch { clearInterval(timer); link("the program has ended"); }
  }, 1000);
}

async function start() {
  $("fit").onclick = () => { fit($("fit").getAttribute("aria-pressed") !== "true"); center(); };
  $("save").onclick = save;
  $("only").onchange = () => $("rows").classList.toggle("only", $("only").checked);
  $("drain").onclick = async () => {
    $("drain").disabled = true;
    try { await fetch(`/drain/${encodeURIComponent(view.run)}`, { method: "POST" }); } catch { gone(); }
  };
  const again = () => { drawTime.at = 0; draw(); };
  window.addEventListener("resize", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  if (saved) {
    const kept = JSON.parse(saved.textContent);
    ended = true;
    drawing = kept.drawing;
    take({ ...kept.state, full: true });
    link(`saved ${new Date(kept.state.at * 1000).toLocaleString()}`);
    return showDrawing(drawing);
  }
  history.replaceState(null, "", location.pathname + location.search.replace(/[?&]token=[^&]*/, ""));
  try { await load(); } catch (error) { return set($("state"), error.message); }
  if (facts.journal) { readJournal(); setInterval(() => { if (!(readJournal.failed > 2)) readJournal(); }, 3000); }
  if (!view) return awaitRun();
  connect();
  document.addEventListener("visibilitychange", () => { if (document.hidden) close(); connect(); });
  setInterval(() => { if (!document.hidden && !isOver()) { drawFigures(); drawTime(); } }, 250);
  const down = window.innerWidth < 700;
  try {
    const answer = await fetch(`/drawing/${encodeURIComponent(view.run)}${down ? "?direction=TB" : ""}`);
    if (answer.ok) { drawing = await answer.text(); showDrawing(drawing); }
    const whole = await fetch("/template");
    if (whole.ok) { template = await whole.text(); draw(); }
  } catch { /* the run has ended meanwhile, and the server with it */ }
}
start();
})();
