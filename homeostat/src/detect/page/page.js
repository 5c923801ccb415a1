"use strict";
(() => {
const D = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const HOST = D.names.length > 0;
const N = D.t.length, MARGIN = { left: HOST ? 104 : 58, right: 14 };
const first = N ? D.t[0] : 0, last = N ? D.t[N - 1] : 1;
const pad = Math.max((last - first) * 0.005, 1);
const FULL = [first - pad, last + pad];
let view = FULL.slice(), hover = -1, selection = null;

// Words ---------------------------------------------------------------------------------------------------------------
const two = n => String(n).padStart(2, "0");
const date = t => { const d = new Date(t * 1000); return `${d.getUTCFullYear()}-${two(d.getUTCMonth() + 1)}-${two(d.getUTCDate())}`; };
const clock = t => { const d = new Date(t * 1000); const s = d.getUTCSeconds(); return `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}${s ? ":" + two(s) : ""}`; };
const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"], MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const moment = t => `${DAYS[new Date(t * 1000).getUTCDay()]} ${date(t)} ${clock(t)}`;
const known = x => x !== null && x !== undefined;
const number = x => {
  if (!known(x)) return "–";
  const a = Math.abs(x);
  if (a >= 1e7 || (a > 0 && a < 1e-3)) return x.toExponential(2);
  return x.toLocaleString("en", { maximumSignificantDigits: a >= 1000 ? Math.ceil(Math.log10(a + 1)) : 4 });
};
const span = s => s >= 2 * 86400 ? `${+(s / 86400).toFixed(s < 20 * 86400 ? 1 : 0)} days` : s >= 7200 ? `${+(s / 3600).toFixed(1)} h` : s >= 120 ? `${+(s / 60).toFixed(1)} min` : `${+s.toFixed(1)} s`;
const element = (tag, text, of) => { const e = document.createElement(tag); if (known(text)) e.textContent = text; if (of) e.className = of; return e; };

const steps = []; for (let i = 1; i < N; i += Math.max(1, Math.floor(N / 2001))) steps.push(D.t[i] - D.t[i - 1]);
steps.sort((a, b) => a - b);
const interval = steps.length ? steps[steps.length >> 1] : 1, GAP = 4 * interval;
let judged = 0, outside = 0;
for (let i = 0; i < N; i++) if (known(D.l[i]) && known(D.u[i])) { judged++; if (D.v[i] < D.l[i] || D.v[i] > D.u[i]) outside++; }

function facts() {
  $("span").textContent = N ? `${moment(first)} – ${moment(last)} UTC` : "no row could be judged";
  if (HOST) for (const key of document.querySelectorAll(".legend .single")) key.hidden = true;
  $("host-key").hidden = !HOST;
  $("labels-key").hidden = !D.labels.length;
  const weeks = (last - first) / 604800;
  const tiles = [
    [D.alerts.length.toLocaleString("en"), D.alerts.length === 1 ? "alert" : "alerts", D.alerts.length ? "hot" : ""],
    [weeks >= 1 ? (D.alerts.length / weeks).toFixed(1) : "–", "alerts per week"],
    [D.rows.toLocaleString("en"), "rows"],
    [span(last - first), "of data"],
    [span(interval), "between samples"],
    HOST ? [D.names.length.toLocaleString("en"), "metrics"] : [judged ? (100 * outside / judged).toFixed(2) + " %" : "–", "outside the usual range"],
  ];
  if (D.refused) tiles.push([D.refused.toLocaleString("en"), "rows refused"]);
  for (const [value, what, hot] of tiles) {
    const tile = element("div", null, "tile " + (hot || ""));
    tile.append(element("b", value), element("span", what));
    $("tiles").append(tile);
  }
}

function table() {
  const box = $("alerts"), shown = D.alerts.slice(0, 200);
  box.append(element("h2", D.alerts.length ? "Alerts" : "No alert opened in this series."));
  if (!shown.length) return;
  const t = element("table"), head = element("tr");
  const columns = [["#"], ["opened"], ["why"], ["value", "n"], ["expected", "n"], ["usual range", "n"], ["severity", "n"], ["confidence", "n"]];
  for (const [name, of] of HOST ? [...columns.slice(0, 3), columns[6]] : columns) head.append(element("th", name, of));
  const thead = element("thead"); thead.append(head); t.append(thead);
  const body = element("tbody");
  shown.forEach((a, k) => {
    const row = element("tr"), badge = element("td");
    badge.append(element("span", k + 1, "badge"));
    row.append(badge, element("td", moment(D.t[a.i])), element("td", a.why));
    if (!HOST) row.append(element("td", number(D.v[a.i]), "n"), element("td", number(D.e[a.i]), "n"), element("td", known(D.l[a.i]) || known(D.u[a.i]) ? `${number(D.l[a.i])} … ${number(D.u[a.i])}` : "–", "n"));
    row.append(element("td", D.y[a.i].toFixed(2), "n"));
    if (!HOST) row.append(element("td", Math.round(100 * a.confidence) + " %", "n"));
    row.addEventListener("click", () => { around(D.t[a.i]); $("main").scrollIntoView({ behavior: "smooth", block: "center" }); });
    body.append(row);
  });
  t.append(body); box.append(t);
  if (D.alerts.length > shown.length) box.append(element("p", `and ${D.alerts.length - shown.length} more`, "more"));
}

// Drawing -------------------------------------------------------------------------------------------------------------
const css = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
function lower(t) { let a = 0, b = N; while (a < b) { const m = (a + b) >> 1; if (D.t[m] < t) a = m + 1; else b = m; } return a; }

function prepare(canvas) {
  const ratio = window.devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight;
  if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) { canvas.width = Math.round(w * ratio); canvas.height = Math.round(h * ratio); }
  const c = canvas.getContext("2d");
  c.setTransform(ratio, 0, 0, ratio, 0, 0); c.clearRect(0, 0, w, h);
  c.font = "11.5px system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"; c.lineJoin = "round";
  return { c, w, h, plot: w - MARGIN.left - MARGIN.right };
}
const scaleX = (range, plot) => t => MARGIN.left + (t - range[0]) / (range[1] - range[0]) * plot;

// Points of one series between a and b, thinned to at most the lowest and highest of each pixel; null where there is a gap.
function thinned(values, a, b, x) {
  const points = []; let column = null, low = 0, high = 0, before = -1;
  const flush = () => { if (column === null) return; const [p, q] = low < high ? [low, high] : [high, low]; points.push([x(D.t[p]), values[p]]); if (q !== p) points.push([x(D.t[q]), values[q]]); column = null; };
  for (let i = a; i < b; i++) {
    if (!known(values[i])) { flush(); if (points.length && points[points.length - 1]) points.push(null); before = -1; continue; }
    if (before >= 0 && D.t[i] - D.t[before] > GAP) { flush(); points.push(null); }
    const at = Math.floor(x(D.t[i]));
    if (at !== column) { flush(); column = at; low = high = i; }
    else { if (values[i] < values[low]) low = i; if (values[i] > values[high]) high = i; }
    before = i;
  }
  flush(); return points;
}
function stroke(c, points, y, colour, width, dash) {
  c.beginPath(); let pen = false;
  points.forEach((p, k) => {
    if (!p) { pen = false; return; }
    if (pen) c.lineTo(p[0], y(p[1]));
    else if (!points[k + 1]) { c.moveTo(p[0] - 0.7, y(p[1])); c.lineTo(p[0] + 0.7, y(p[1])); }
    else c.moveTo(p[0], y(p[1]));
    pen = true;
  });
  c.strokeStyle = colour; c.lineWidth = width; c.setLineDash(dash || []); c.stroke(); c.setLineDash([]);
}
// Lower and upper limit per pixel, as their means there.
function ribbons(a, b, x) {
  const all = []; let now = [], cell = null, before = -1;
  const flush = () => { if (cell) { now.push([cell.x, cell.l / cell.n, cell.u / cell.n]); cell = null; } };
  const cut = () => { flush(); if (now.length) all.push(now); now = []; };
  for (let i = a; i < b; i++) {
    if (!known(D.l[i]) || !known(D.u[i])) { cut(); before = -1; continue; }
    if (before >= 0 && D.t[i] - D.t[before] > GAP) cut();
    const px = x(D.t[i]);
    if (cell && Math.floor(px) !== cell.at) flush();
    if (!cell) cell = { at: Math.floor(px), x: px, l: 0, u: 0, n: 0 };
    cell.l += D.l[i]; cell.u += D.u[i]; cell.n++; before = i;
  }
  cut(); return all;
}
function nice(low, high, count) {
  const rough = (high - low) / count, power = Math.pow(10, Math.floor(Math.log10(rough)));
  const step = [1, 2, 2.5, 5, 10].map(m => m * power).find(s => s >= rough) || rough, ticks = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-9 && ticks.length < 20; v += step) ticks.push(Math.abs(v) < step * 1e-9 ? 0 : v);
  return ticks;
}
const TIMES = [1, 5, 15, 30, 60, 300, 900, 1800, 3600, 10800, 21600, 43200, 86400, 172800, 604800, 1209600];
function timeTicks(range, plot) {
  const rough = (range[1] - range[0]) / Math.max(2, plot / 105), step = TIMES.find(s => s >= rough), ticks = [];
  if (!step) {
    const months = [1, 2, 3, 6, 12, 24, 60, 120, 240].find(m => m * 2629800 >= rough) || 600, d = new Date(range[0] * 1000);
    for (let m = d.getUTCFullYear() * 12 + d.getUTCMonth(); ticks.length < 30; m++) {
      if (m % months) continue;
      const t = Date.UTC(Math.floor(m / 12), m % 12, 1) / 1000;
      if (t > range[1]) break;
      if (t >= range[0]) ticks.push([t, `${MONTHS[m % 12]} ${Math.floor(m / 12)}`, m % 12 === 0]);
    }
    return ticks;
  }
  const offset = step >= 604800 ? 345600 : 0; // weeks begin on Monday
  for (let t = Math.ceil((range[0] - offset) / step) * step + offset; t <= range[1]; t += step) {
    const d = new Date(t * 1000), midnight = t % 86400 === 0;
    ticks.push([t, step >= 86400 || midnight ? `${step < 604800 ? DAYS[d.getUTCDay()] + " " : ""}${d.getUTCDate()} ${MONTHS[d.getUTCMonth()]}` : clock(t), midnight && step < 86400]);
  }
  return ticks;
}
const within = (c, text, px, w) => { const half = c.measureText(text).width / 2; return Math.min(Math.max(px, half), w - half); };
const inView = () => [Math.max(0, lower(view[0]) - 1), Math.min(N, lower(view[1]) + 1)];

// Many metrics: a strip for each that was ever to blame, the guiltiest on top; darker the more of the evidence is its own.
const guilt = new Map();
for (const [, metric, share] of D.blame) guilt.set(metric, (guilt.get(metric) || 0) + share);
const strips = [...guilt.keys()].sort((a, b) => guilt.get(b) - guilt.get(a)).slice(0, 30), lane = new Map(strips.map((metric, k) => [metric, k]));
function drawHost() {
  const { c, w, h, plot } = prepare($("main")), top = 12, bottom = h - 24, x = scaleX(view, plot), [a, b] = inView();
  const tall = Math.min(30, (bottom - top) / Math.max(1, strips.length)), wide = Math.max(1.5, x(view[0] + interval) - x(view[0]));
  const font = c.font; if (tall < 15) c.font = font.replace("11.5px", "10px");
  c.textAlign = "right"; c.textBaseline = "middle";
  strips.forEach((metric, k) => {
    c.fillStyle = css("grid"); c.fillRect(MARGIN.left, Math.round(top + k * tall), plot, 1);
    const name = D.names[metric]; c.fillStyle = css("quiet"); c.fillText(name.length > 14 ? name.slice(0, 13) + "…" : name, MARGIN.left - 8, top + (k + 0.5) * tall);
  });
  c.font = font;
  if (!strips.length) { c.textAlign = "left"; c.fillStyle = css("quiet"); c.fillText("no metric was to blame for anything", MARGIN.left + 12, top + 20); }
  c.textAlign = "center"; c.textBaseline = "alphabetic";
  for (const [t, text] of timeTicks(view, plot)) { c.fillStyle = css("grid"); c.fillRect(Math.round(x(t)), top, 1, bottom - top); c.fillStyle = css("quiet"); c.fillText(text, within(c, text, x(t), w), h - 7); }
  c.save(); c.beginPath(); c.rect(MARGIN.left, top, plot, bottom - top); c.clip();
  c.fillStyle = css("label");
  for (const [s, e] of D.labels) c.fillRect(x(s), top, Math.max(2, x(e) - x(s)), bottom - top);
  c.fillStyle = css("value");
  for (const [i, metric, share] of D.blame) {
    if (i < a || i >= b || !lane.has(metric)) continue;
    c.globalAlpha = Math.min(1, 0.15 + Math.sqrt(share)); c.fillRect(x(D.t[i]), top + lane.get(metric) * tall + 1, wide, tall - 1);
  }
  c.globalAlpha = 1;
  const lanes = [], seen = D.alerts.map((q, k) => [q, k]).filter(([q]) => q.i >= a && q.i < b);
  for (const [q, k] of seen) marker(c, x(D.t[q.i]), bottom + 20, k + 1, lanes, seen.length, top, bottom);
  if (hover >= 0) { c.fillStyle = css("quiet"); c.globalAlpha = 0.5; c.fillRect(Math.round(x(D.t[hover])), top, 1, bottom - top); c.globalAlpha = 1; }
  if (selection) { c.fillStyle = css("window"); c.fillRect(Math.min(...selection), top, Math.abs(selection[1] - selection[0]), bottom - top); }
  c.restore();
}
function drawMain() {
  if (HOST) { drawHost(); return; }
  const { c, w, h, plot } = prepare($("main")), top = 12, bottom = h - 24, x = scaleX(view, plot), [a, b] = inView();
  let low = Infinity, high = -Infinity;
  for (let i = a; i < b; i++) { if (D.v[i] < low) low = D.v[i]; if (D.v[i] > high) high = D.v[i]; }
  if (!(low <= high)) { low = 0; high = 1; }
  const size = high - low || Math.abs(high) || 1, floor = low - 0.3 * size, roof = high + 0.3 * size;
  for (let i = a; i < b; i++) {
    if (known(D.l[i])) low = Math.min(low, Math.max(D.l[i], floor));
    if (known(D.u[i])) high = Math.max(high, Math.min(D.u[i], roof));
  }
  const room = 0.06 * (high - low || size); low -= room; high += room;
  const y = v => bottom - (v - low) / (high - low) * (bottom - top);
  c.textBaseline = "middle"; c.textAlign = "right";
  for (const v of nice(low, high, 6)) {
    c.fillStyle = css("grid"); c.fillRect(MARGIN.left, Math.round(y(v)), plot, 1);
    c.fillStyle = css("quiet"); c.fillText(number(+v.toPrecision(10)), MARGIN.left - 8, y(v));
  }
  c.textAlign = "center"; c.textBaseline = "alphabetic";
  for (const [t, text, strong] of timeTicks(view, plot)) {
    c.fillStyle = css(strong ? "line" : "grid"); c.fillRect(Math.round(x(t)), top, 1, bottom - top);
    c.fillStyle = css(strong ? "ink" : "quiet"); c.fillText(text, within(c, text, x(t), w), h - 7);
  }
  c.save(); c.beginPath(); c.rect(MARGIN.left, top, plot, bottom - top); c.clip();
  c.fillStyle = css("label");
  for (const [s, e] of D.labels) c.fillRect(x(s), top, Math.max(2, x(e) - x(s)), bottom - top);
  const dense = (b - a) / plot > 3;
  const clamp = v => Math.min(bottom + 50, Math.max(top - 50, y(v)));
  for (const ribbon of ribbons(a, b, x)) {
    c.beginPath(); ribbon.forEach((p, k) => k ? c.lineTo(p[0], clamp(p[2])) : c.moveTo(p[0], clamp(p[2])));
    for (let k = ribbon.length - 1; k >= 0; k--) c.lineTo(ribbon[k][0], clamp(ribbon[k][1]));
    c.closePath(); c.fillStyle = css("band"); c.fill();
    // Where a day is a few pixels wide, its outline would only be clutter.
    for (const side of dense ? [] : [1, 2]) { c.beginPath(); ribbon.forEach((p, k) => k ? c.lineTo(p[0], clamp(p[side])) : c.moveTo(p[0], clamp(p[side]))); c.strokeStyle = css("band-edge"); c.lineWidth = 1; c.stroke(); }
  }
  if (!dense) stroke(c, thinned(D.e, a, b, x), y, css("expected"), 1.2, [5, 4]);
  stroke(c, thinned(D.v, a, b, x), y, css("value"), dense ? 1 : 1.5);
  if ((b - a) < plot / 8) { c.fillStyle = css("value"); for (let i = a; i < b; i++) { c.beginPath(); c.arc(x(D.t[i]), y(D.v[i]), 2.2, 0, 7); c.fill(); } }
  const seen = D.alerts.map((q, k) => [q, k]).filter(([q]) => q.i >= a && q.i < b);
  const lanes = [];
  for (const [q, k] of seen) marker(c, x(D.t[q.i]), y(D.v[q.i]), k + 1, lanes, seen.length, top, bottom);
  if (hover >= 0) {
    c.fillStyle = css("quiet"); c.globalAlpha = 0.5; c.fillRect(Math.round(x(D.t[hover])), top, 1, bottom - top); c.globalAlpha = 1;
    c.fillStyle = css("value"); c.beginPath(); c.arc(x(D.t[hover]), y(D.v[hover]), 4, 0, 7); c.fill(); c.strokeStyle = css("card"); c.lineWidth = 1.5; c.stroke();
  }
  if (selection) { c.fillStyle = css("window"); c.fillRect(Math.min(...selection), top, Math.abs(selection[1] - selection[0]), bottom - top); }
  c.restore();
}
function marker(c, px, py, name, lanes, count, top, bottom) {
  const red = css("alert"), text = String(name), wide = Math.max(16, c.measureText(text).width + 9);
  c.fillStyle = red; c.globalAlpha = count > 40 ? 0.25 : 0.45; c.fillRect(Math.round(px), top, 1, bottom - top); c.globalAlpha = 1;
  c.beginPath(); c.arc(px, py, 4, 0, 7); c.fill(); c.strokeStyle = css("card"); c.lineWidth = 1.5; c.stroke();
  // Numbers that would cover one another go into lanes below; beyond four lanes the dots alone must do.
  const free = lanes.findIndex(end => px - wide / 2 > end + 2), lane = free >= 0 ? free : lanes.length;
  if (lane > 3) return;
  lanes[lane] = px + wide / 2;
  const at = top + 16 * lane;
  c.fillStyle = red; c.beginPath(); c.roundRect(px - wide / 2, at, wide, 15, 7.5); c.fill();
  c.fillStyle = "#fff"; c.textAlign = "center"; c.textBaseline = "middle"; c.fillText(text, px, at + 8); c.textBaseline = "alphabetic";
}
function drawScore() {
  const { c, h, plot } = prepare($("score")), top = 6, bottom = h - 6, x = scaleX(view, plot), [a, b] = inView();
  const y = v => bottom - v * (bottom - top);
  c.textAlign = "right"; c.textBaseline = "middle";
  for (const v of [0, 0.5, 1]) { c.fillStyle = css(v ? "grid" : "line"); c.fillRect(MARGIN.left, Math.round(y(v)), plot, 1); c.fillStyle = css("quiet"); c.fillText(v.toString(), MARGIN.left - 8, y(v)); }
  c.save(); c.beginPath(); c.rect(MARGIN.left, 0, plot, h); c.clip();
  c.fillStyle = css("label");
  for (const [s, e] of D.labels) c.fillRect(x(s), top, Math.max(2, x(e) - x(s)), bottom - top);
  let piece = [];
  const fill = () => { if (piece.length) { c.beginPath(); c.moveTo(piece[0][0], y(0)); for (const p of piece) c.lineTo(p[0], y(p[1])); c.lineTo(piece[piece.length - 1][0] + 1, y(0)); c.closePath(); c.fillStyle = css("severity"); c.fill(); } piece = []; };
  for (const p of thinned(D.y, a, b, x)) p ? piece.push(p) : fill();
  fill();
  stroke(c, thinned(D.s, a, b, x), y, css("score"), 1);
  for (const q of D.alerts) if (q.i >= a && q.i < b) { c.fillStyle = css("alert"); c.beginPath(); c.arc(x(D.t[q.i]), y(D.y[q.i]), 3, 0, 7); c.fill(); }
  if (hover >= 0) { c.fillStyle = css("quiet"); c.globalAlpha = 0.5; c.fillRect(Math.round(x(D.t[hover])), top, 1, bottom - top); c.globalAlpha = 1; }
  c.restore();
}
function drawOverview() {
  const { c, w, h, plot } = prepare($("overview")), x = scaleX(FULL, plot), top = 4, bottom = h - 16;
  let low = Infinity, high = -Infinity;
  for (const v of D.v) { if (v < low) low = v; if (v > high) high = v; }
  const size = high - low || 1, y = v => bottom - 2 - (v - low) / size * (bottom - top - 4);
  c.fillStyle = css("label"); for (const [s, e] of D.labels) c.fillRect(x(s), top, Math.max(2, x(e) - x(s)), bottom - top);
  stroke(c, thinned(D.v, 0, N, x), y, css("expected"), 0.8);
  c.fillStyle = css("alert"); for (const q of D.alerts) c.fillRect(Math.round(x(D.t[q.i])) - 0.5, top, 1.5, bottom - top);
  c.textAlign = "center"; c.fillStyle = css("quiet"); for (const [t, text] of timeTicks(FULL, plot)) c.fillText(text, within(c, text, x(t), w), h - 3);
  c.fillStyle = css("window"); c.strokeStyle = css("value"); c.lineWidth = 1;
  const [l, r] = [x(view[0]), x(view[1])]; c.fillRect(l, top, r - l, bottom - top); c.strokeRect(l + 0.5, top + 0.5, Math.max(2, r - l - 1), bottom - top - 1);
}
let asked = false;
function draw() { if (asked) return; asked = true; requestAnimationFrame(() => { asked = false; drawMain(); drawScore(); drawOverview(); }); }

// Moving about --------------------------------------------------------------------------------------------------------
function show(a, b) {
  const least = Math.max(4 * interval, 1e-3), whole = FULL[1] - FULL[0];
  const size = Math.min(whole, Math.max(least, b - a)); let from = (a + b) / 2 - size / 2;
  from = Math.min(Math.max(from, FULL[0]), FULL[1] - size); view = [from, from + size]; draw();
}
const around = t => { const size = Math.min(view[1] - view[0], Math.max(400 * interval, 7200)); show(t - size / 2, t + size / 2); };
const timeAt = (canvas, event, range) => { const box = canvas.getBoundingClientRect(); return range[0] + (event.clientX - box.left - MARGIN.left) / (box.width - MARGIN.left - MARGIN.right) * (range[1] - range[0]); };

function tip(event) {
  const box = $("tip");
  if (hover < 0) { box.hidden = true; return; }
  const i = hover, alert = D.alerts.find(q => q.i === i), blamed = HOST ? D.blame.filter(q => q[0] === i).slice(0, 6) : [];
  const rows = HOST ? [["score", D.s[i].toFixed(3)], ["severity", D.y[i].toFixed(2)], ...blamed.map(q => [D.names[q[1]], Math.round(100 * q[2]) + " %"])] : [["value", number(D.v[i])], ["expected", number(D.e[i])],
    ["usual range", known(D.l[i]) || known(D.u[i]) ? `${number(D.l[i])} … ${number(D.u[i])}` : "still learning"], ["score", D.s[i].toFixed(3)], ["severity", D.y[i].toFixed(2)]];
  box.replaceChildren(element("b", moment(D.t[i])));
  for (const [name, value] of rows) { const line = element("div"); line.append(element("span", name), element("span", value)); box.append(line); }
  if (alert) box.append(element("em", "Alert: " + alert.why));
  box.hidden = false;
  const wide = box.offsetWidth, left = event.clientX + 18 + wide > window.innerWidth ? event.clientX - wide - 18 : event.clientX + 18;
  box.style.left = left + "px"; box.style.top = Math.min(event.clientY + 14, window.innerHeight - box.offsetHeight - 8) + "px";
}
for (const id of ["main", "score"]) {
  const canvas = $(id);
  canvas.addEventListener("pointermove", event => {
    const t = timeAt(canvas, event, view), i = lower(t);
    hover = N ? Math.max(0, i >= N ? N - 1 : i > 0 && t - D.t[i - 1] < D.t[i] - t ? i - 1 : i) : -1;
    if (hover >= 0 && (D.t[hover] < view[0] || D.t[hover] > view[1])) hover = -1;
    if (selection) selection[1] = event.clientX - canvas.getBoundingClientRect().left;
    tip(event); draw();
  });
  canvas.addEventListener("pointerleave", event => { hover = -1; tip(event); draw(); });
  canvas.addEventListener("wheel", event => {
    event.preventDefault();
    const t = timeAt(canvas, event, view), k = Math.exp(Math.max(-1, Math.min(1, event.deltaY / 300)));
    show(t - (t - view[0]) * k, t + (view[1] - t) * k);
  }, { passive: false });
  canvas.addEventListener("dblclick", () => show(...FULL));
  canvas.addEventListener("pointerdown", event => { const px = event.clientX - canvas.getBoundingClientRect().left; selection = [px, px]; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointerup", event => {
    const chosen = selection; selection = null;
    if (chosen && Math.abs(chosen[1] - chosen[0]) > 6) {
      const left = canvas.getBoundingClientRect().left, [a, b] = [Math.min(...chosen), Math.max(...chosen)].map(px => timeAt(canvas, { clientX: px + left }, view));
      show(a, b);
    } else draw();
  });
}
const overview = $("overview"); let held = null;
overview.addEventListener("pointerdown", event => { const t = timeAt(overview, event, FULL); if (t < view[0] || t > view[1]) { const half = (view[1] - view[0]) / 2; show(t - half, t + half); } held = t - view[0]; overview.setPointerCapture(event.pointerId); });
overview.addEventListener("pointermove", event => { if (held === null) return; const from = timeAt(overview, event, FULL) - held; show(from, from + view[1] - view[0]); });
overview.addEventListener("pointerup", () => { held = null; });
for (const button of document.querySelectorAll("[data-span]")) button.addEventListener("click", () => { const size = +button.dataset.span; if (!size) show(...FULL); else { const middle = hover >= 0 ? D.t[hover] : (view[0] + view[1]) / 2; show(middle - size / 2, middle + size / 2); } });
function step(by) {
  const middle = (view[0] + view[1]) / 2, slack = (view[1] - view[0]) * 1e-3, times = D.alerts.map(q => D.t[q.i]);
  const t = by > 0 ? times.find(t => t > middle + slack) : times.reverse().find(t => t < middle - slack);
  if (known(t)) around(t);
}
$("before").addEventListener("click", () => step(-1)); $("after").addEventListener("click", () => step(1));
document.addEventListener("keydown", event => {
  const size = view[1] - view[0];
  if (event.key === "ArrowLeft") show(view[0] - size / 4, view[1] - size / 4);
  else if (event.key === "ArrowRight") show(view[0] + size / 4, view[1] + size / 4);
  else if (event.key === "+" || event.key === "=") show(view[0] + size / 4, view[1] - size / 4);
  else if (event.key === "-") show(view[0] - size / 2, view[1] + size / 2);
  else if (event.key === "Escape" || event.key === "0") show(...FULL);
});
window.addEventListener("resize", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
// `#from,to` in seconds opens a part of the series: a link can point at an incident.
const part = location.hash.slice(1).split(",").map(Number);
facts(); table();
if (part.length === 2 && part.every(Number.isFinite)) show(...part); else show(...FULL);
})();
