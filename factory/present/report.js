"use strict";
// All data are in the page itself. The JSON of a sample is parsed only when its card is shown.
const $ = (selector, within = document) => within.querySelector(selector);
const data = JSON.parse($("#data").textContent);
const PAGE = 20, COLOURS = [[120, 190, 255], [255, 175, 120], [150, 225, 160], [230, 160, 235]];
const names = { mesh: "overlay" };
const state = { text: "", status: "ok", action: "", measure: Object.keys(data.metrics)[0], least: "", way: 1, order: "", page: 0, column: "final" };
const make = (tag, text = "", properties = {}) => Object.assign(document.createElement(tag), { textContent: text }, properties);
const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer;
const initials = new Set(Object.values(data.metrics).map(metric => metric.initial));
const figure = ({ digits, unit }, value) => value == null ? "–" : value.toFixed(digits) + (unit && " " + unit);
const faces = data.faces && new Uint16Array(bytes(data.faces));

let unpacked = new Map();
function sample(row) {
  if (!unpacked.has(row.sample)) {
    if (unpacked.size > 4 * PAGE) unpacked = new Map();
    unpacked.set(row.sample, JSON.parse($("#sample" + row.sample).textContent));
  }
  return unpacked.get(row.sample);
}

// The list ------------------------------------------------------------------------------------------------------------
let fitting = [];
function filter() {
  const text = state.text.toLowerCase(), least = state.least === "" ? null : Number(state.least);
  fitting = data.rows.filter(row =>
    (!state.status || row.state === state.status) && (!state.action || row.action === state.action) &&
    (!text || (row.prompt + " " + row.key).toLowerCase().includes(text)) &&
    (least === null || (row.sample >= 0 && row[state.measure] != null && state.way * (row[state.measure] - least) >= 0)));
  const sign = { down: -1, up: 1 }[state.order];
  if (sign) fitting.sort((a, b) => a[state.measure] == null ? 1 : b[state.measure] == null ? -1 : sign * (a[state.measure] - b[state.measure]));
  state.page = 0;
  show();
}

function show() {
  const pages = Math.max(1, Math.ceil(fitting.length / PAGE));
  state.page = Math.min(Math.max(state.page, 0), pages - 1);
  const start = state.page * PAGE;
  $("#cards").replaceChildren(...fitting.slice(start, start + PAGE).map((row, i) => card(row, start + i)));
  if (!fitting.length && data.rows.length) $("#cards").append(nothing());
  $("#found").textContent = fitting.length ? `${start + 1}–${Math.min(start + PAGE, fitting.length)} of ${fitting.length.toLocaleString("en")}` : "nothing fits";
  for (const pager of document.querySelectorAll(".pager")) {
    pager.hidden = pages < 2;
    $("[data-turn='-1']", pager).disabled = !state.page;
    $("[data-turn='1']", pager).disabled = state.page === pages - 1;
    $("span", pager).textContent = `page ${state.page + 1} of ${pages}`;
  }
}

function nothing() {
  const all = make("button", "Show all records"), note = make("p", "No record fits these filters.", { className: "empty" });
  all.onclick = () => {
    Object.assign(state, { text: "", status: "", action: "", least: "" });
    for (const name of controls) $("#" + name).value = state[name];
    filter();
  };
  note.append(all);
  return note;
}

function card(row, place) {
  const article = make("article", "", { className: row.state });
  if (row.sample < 0) {
    article.append(make("p", row.why, { className: "why dot " + row.state }));
  } else {
    const pictures = sample(row).pictures;
    const image = make("img", "", { alt: row.prompt, decoding: "async" });
    const look = column => {
      image.src = pictures[column] || pictures.final;
      for (const tab of tabs.children) tab.classList.toggle("on", tab.value === column);
    };
    const tabs = make("div", "", { className: "tabs" });
    for (const column of data.columns.filter(column => pictures[column])) {
      const tab = make("button", names[column] || column, { value: column });
      tab.onpointerenter = tab.onfocus = tab.onclick = () => look(column);
      tabs.append(tab);
    }
    article.onpointerleave = event => event.pointerType === "mouse" && look(state.column);
    const open = make("button", "", { className: "picture", title: "Look closer" });
    open.append(image);
    open.onclick = () => zoom(place);
    article.append(open, tabs);
    look(state.column);
  }
  const about = make("p", "", { className: "about" });
  if (row.sample >= 0) for (const [name, metric] of Object.entries(data.metrics)) {
    if (!metric.short || row[name] == null) continue;
    const pair = make("span", metric.short + " ");
    pair.append(make("b", figure(metric, row[name])));
    about.append(pair, " ");
  }
  article.append(make("p", row.prompt, { className: "prompt", title: row.prompt }), about, make("code", row.key));
  return article;
}

// One sample, large ---------------------------------------------------------------------------------------------------
const dialog = $("#zoom"), canvas = $("canvas", dialog), large = $("#large");
let at = 0, shown = "final", turned = null;
function zoom(place) {
  if (!fitting[place] || fitting[place].sample < 0) return;
  at = place;
  const row = fitting[at], { pictures, bodies } = sample(row);
  $("#title").textContent = row.prompt;
  const strip = $("#strip");
  strip.replaceChildren(...data.columns.filter(column => pictures[column]).map(column => {
    const tab = make("button", "", { value: column });
    tab.append(make("img", "", { src: pictures[column], alt: "" }), make("span", names[column] || column));
    return tab;
  }));
  if (bodies && faces) strip.append(make("button", "", { value: "3d", innerHTML: "<i>3D</i><span>turn it</span>" }));
  for (const tab of strip.children) tab.onclick = tab.onpointerenter = event => (event.type === "click" || event.pointerType === "mouse" && tab.value !== "3d") && reveal(tab.value);
  const facts = $("#facts");
  facts.replaceChildren();
  for (const [name, metric] of Object.entries(data.metrics)) {
    if (initials.has(name)) continue;
    const value = make("dd", figure(metric, row[name])), before = row[metric.initial];
    if (before != null) value.append(make("small", "initial " + figure(metric, before)));
    facts.append(make("dt", metric.label, { title: metric.about }), value);
  }
  const others = { people: row.people, action: row.action, ...row.refined ? {} : { image: "kept as generated" }, key: row.key };
  for (const [name, value] of Object.entries(others)) facts.append(make("dt", name), make("dd", value));
  if (!dialog.open) { dialog.showModal(); dialog.focus(); }
  reveal([...strip.children].some(tab => tab.value === shown) ? shown : "final");
}

function reveal(column) {
  shown = column;
  const { pictures, bodies } = sample(fitting[at]);
  for (const tab of $("#strip").children) tab.classList.toggle("on", tab.value === column);
  canvas.hidden = column !== "3d";
  large.hidden = column === "3d";
  if (column !== "3d") { large.src = pictures[column]; large.alt = column; return; }
  turned = viewer(canvas, bodies, pictures.final);
}

// The 3D view: triangles, sorted by distance, on a 2D canvas. At first the bodies lie exactly over the image. -------------
function viewer(canvas, bodies, picture) {
  const points = new Int16Array(bytes(bodies.vertices)), count = points.length / 3, each = Math.max(...faces) + 1;
  const [focal, cx, cy] = bodies.K, [mx, my, mz] = bodies.centre, step = bodies.step, people = count / each;
  const context = canvas.getContext("2d"), image = new Image();
  const q = new Float32Array(count * 3), normal = new Float32Array(count * 3), screen = new Float32Array(count * 2);
  const total = people * faces.length / 3, far = new Float32Array(total), order = new Uint32Array(total);
  const view = { yaw: 0, pitch: 0, near: 1, drawn: 0 };
  function draw() {
    const side = canvas.width = canvas.height = Math.round(canvas.clientWidth * Math.min(devicePixelRatio, 2)) || 600;
    const scale = side / bodies.size * view.near, away = Math.hypot(view.yaw, view.pitch);
    // Zooming in moves the middle of the bodies towards the middle of the canvas.
    const shift = [cx, cy].map((centre, axis) => {
      const middle = focal * bodies.centre[axis] / mz + centre, goal = bodies.size / 2 + (middle - bodies.size / 2) / view.near;
      return side / bodies.size * (goal - middle * view.near);
    });
    context.clearRect(0, 0, side, side);
    if (image.complete && away < 0.6) {
      context.globalAlpha = 1 - away / 0.6;
      context.drawImage(image, ...shift, side * view.near, side * view.near);
      context.globalAlpha = 1;
    }
    const cosYaw = Math.cos(view.yaw), sinYaw = Math.sin(view.yaw), cosPitch = Math.cos(view.pitch), sinPitch = Math.sin(view.pitch);
    for (let i = 0; i < count * 3; i += 3) {
      const x = points[i] * step, y = points[i + 1] * step, z = points[i + 2] * step;
      const u = cosYaw * x + sinYaw * z, w = cosYaw * z - sinYaw * x;
      q[i] = u + mx; q[i + 1] = cosPitch * y - sinPitch * w + my; q[i + 2] = sinPitch * y + cosPitch * w + mz;
      screen[i / 3 * 2] = (focal * q[i] / q[i + 2] + cx) * scale + shift[0];
      screen[i / 3 * 2 + 1] = (focal * q[i + 1] / q[i + 2] + cy) * scale + shift[1];
    }
    normal.fill(0);
    let visible = 0;
    for (let f = 0; f < total; f++) {
      const base = Math.floor(f * 3 / faces.length) * each, k = f * 3 % faces.length;
      const a = base + faces[k], b = base + faces[k + 1], c = base + faces[k + 2];
      const ux = q[b * 3] - q[a * 3], uy = q[b * 3 + 1] - q[a * 3 + 1], uz = q[b * 3 + 2] - q[a * 3 + 2];
      const vx = q[c * 3] - q[a * 3], vy = q[c * 3 + 1] - q[a * 3 + 1], vz = q[c * 3 + 2] - q[a * 3 + 2];
      const nx = uy * vz - uz * vy, ny = uz * vx - ux * vz, nz = ux * vy - uy * vx;
      for (const v of [a, b, c]) { normal[v * 3] += nx; normal[v * 3 + 1] += ny; normal[v * 3 + 2] += nz; }
      far[f] = q[a * 3 + 2] + q[b * 3 + 2] + q[c * 3 + 2];
      const front = (screen[b * 2] - screen[a * 2]) * (screen[c * 2 + 1] - screen[a * 2 + 1]) - (screen[b * 2 + 1] - screen[a * 2 + 1]) * (screen[c * 2] - screen[a * 2]);
      if (front < 0) order[visible++] = f;
    }
    const light = v => {
      const length = Math.hypot(normal[v * 3], normal[v * 3 + 1], normal[v * 3 + 2]) || 1;
      return Math.max(0, -0.35 * normal[v * 3] - 0.6 * normal[v * 3 + 1] - 0.72 * normal[v * 3 + 2]) / length;
    };
    for (const f of order.subarray(0, visible).sort((a, b) => far[b] - far[a])) {
      const person = Math.floor(f * 3 / faces.length), base = person * each, k = f * 3 % faces.length;
      const a = base + faces[k], b = base + faces[k + 1], c = base + faces[k + 2];
      const shade = 0.35 + 0.65 * (light(a) + light(b) + light(c)) / 3;
      context.fillStyle = context.strokeStyle = `rgb(${COLOURS[person % COLOURS.length].map(v => Math.min(255, v * shade) | 0)})`;
      context.beginPath();
      for (const v of [a, b, c]) context.lineTo(screen[v * 2], screen[v * 2 + 1]);
      context.closePath();
      context.fill();
      context.stroke(); // without it, hairlines show between the triangles
    }
    view.drawn++;
  }
  let waiting = false;
  const later = () => { if (!waiting) { waiting = true; requestAnimationFrame(() => { waiting = false; draw(); }); } };
  const held = new Map();
  canvas.onpointerdown = event => { held.set(event.pointerId, event); canvas.setPointerCapture(event.pointerId); };
  canvas.onpointerup = canvas.onpointercancel = event => held.delete(event.pointerId);
  canvas.onpointermove = event => {
    const before = held.get(event.pointerId);
    if (!before) return;
    const other = [...held.values()].find(one => one.pointerId !== event.pointerId);
    if (other) view.near *= Math.hypot(event.x - other.x, event.y - other.y) / (Math.hypot(before.x - other.x, before.y - other.y) || 1);
    else { view.yaw -= (event.x - before.x) / 120; view.pitch += (event.y - before.y) / 120; }
    held.set(event.pointerId, event);
    view.near = Math.min(8, Math.max(0.5, view.near));
    later();
  };
  canvas.onwheel = event => { event.preventDefault(); view.near = Math.min(8, Math.max(0.5, view.near * Math.exp(-event.deltaY / 500))); later(); };
  canvas.onkeydown = event => {
    const step = { ArrowLeft: ["yaw", 0.15], ArrowRight: ["yaw", -0.15], ArrowUp: ["pitch", -0.15], ArrowDown: ["pitch", 0.15] }[event.key];
    if (step) view[step[0]] += step[1];
    else if ("+-".includes(event.key)) view.near = Math.min(8, Math.max(0.5, view.near * (event.key === "+" ? 1.2 : 1 / 1.2)));
    else return;
    event.preventDefault();
    event.stopPropagation(); // the dialog would show another sample
    later();
  };
  canvas.ondblclick = () => { Object.assign(view, { yaw: 0, pitch: 0, near: 1 }); later(); };
  image.onload = later;
  image.src = picture;
  draw();
  return view;
}

// Controls ------------------------------------------------------------------------------------------------------------
const controls = ["text", "status", "action", "measure", "least", "order"];
for (const name of controls) {
  const control = $("#" + name);
  control.value = state[name];
  control.oninput = () => { state[name] = control.value; filter(); };
}
$("#way").onclick = () => {
  state.way *= -1;
  $("#way").textContent = state.way > 0 ? "≥" : "≤";
  filter();
};
for (const button of document.querySelectorAll("[data-turn]")) button.onclick = () => {
  state.page += Number(button.dataset.turn);
  show();
  if (button.closest(".below")) $(".tools").scrollIntoView();
};
for (const button of document.querySelectorAll("#column button")) button.onclick = () => {
  state.column = button.value;
  for (const other of document.querySelectorAll("#column button")) other.setAttribute("aria-pressed", other === button);
  show();
};
$("#theme").onclick = () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
};
const neighbour = way => { for (let i = at + way; fitting[i]; i += way) if (fitting[i].sample >= 0) return zoom(i); };
$("#before").onclick = () => neighbour(-1);
$("#after").onclick = () => neighbour(1);
$("#close").onclick = () => dialog.close();
dialog.onclick = event => { if (event.target === dialog) dialog.close(); };
dialog.onkeydown = event => {
  const way = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (!way) return;
  event.preventDefault();
  if (event.key === "ArrowLeft" || event.key === "ArrowRight") return neighbour(way);
  const tabs = [...$("#strip").children].map(tab => tab.value);
  reveal(tabs[(tabs.indexOf(shown) + way + tabs.length) % tabs.length]);
};
filter();
