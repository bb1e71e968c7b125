
"use strict";
// All images are in the page itself; a pair is parsed when it is shown. Answers are kept in this browser until they are saved.
const $ = selector => document.querySelector(selector), all = selector => [...document.querySelectorAll(selector)];
const about = JSON.parse($("#about").textContent), count = about.count;
const slot = `image-study-${about.study}-${about.rater}`, file = `answers-${about.study}-rater-${about.rater}.json`;
const CHOICES = ["first", "second", "no preference"], LEAVE = 220; // ms in which an answer is seen, and a double click does not answer the next pair
const body = document.body, sides = all(".picture"), loaded = new Map(); // loaded: pair -> promise of its two decoded images
let kept = true, answers = restored(), at = 0, open = false; // open: whether the pair that is shown can be answered now

function restored() {
  let found = null;
  try { found = JSON.parse(localStorage.getItem(slot)); } catch { kept = false; } // no storage, or no JSON in it
  const fits = Array.isArray(found) && found.length === count && found.every(answer => answer === null || CHOICES.includes(answer));
  return fits ? found : Array(count).fill(null);
}

function keep() {
  try { localStorage.setItem(slot, JSON.stringify(answers)); kept = true; } catch { kept = false; }
  $("#unkept").hidden = kept;
}

function load(i) {
  for (const old of loaded.keys()) if (Math.abs(old - i) > 1) loaded.delete(old);
  if (!loaded.has(i)) loaded.set(i, Promise.all(JSON.parse($("#pair" + i).textContent).map(async (src, side) => {
    const image = Object.assign(new Image(), { src, alt: ["first image", "second image"][side], draggable: false });
    await image.decode().catch(() => {});
    return image;
  })));
  return loaded.get(i);
}

function view(name) {
  body.dataset.view = name;
  const given = answers.filter(Boolean).length;
  $("#bar i").style.width = 100 * given / count + "%";
  $("#bar").setAttribute("aria-valuenow", given);
  $("#begin").textContent = given ? `Go on (${given} of ${count} answered)` : "Start";
}

async function show(i) {
  open = false;
  if (i >= count) { $("#saved").textContent = ""; view("end"); return dispatchEvent(new Event("shown")); }
  const images = await load(i); // both at once, so that none is looked at longer
  at = i;
  images.forEach((image, side) => sides[side].replaceChildren(image));
  if (at + 1 < count) load(at + 1);
  body.classList.remove("leaving", "neither");
  mark(answers[at]);
  $("#place").textContent = `${at + 1} / ${count}`;
  $("#back").disabled = !at;
  $("#forward").disabled = !answers[at];
  view("pair");
  open = true;
  dispatchEvent(new Event("shown"));
}

function mark(answer) {
  for (const button of all("[data-answer]")) {
    button.classList.toggle("chosen", button.dataset.answer === answer);
    button.setAttribute("aria-pressed", button.dataset.answer === answer);
  }
}

function answer(choice) {
  if (!open || body.dataset.view !== "pair") return;
  open = false;
  answers[at] = choice;
  keep();
  mark(choice);
  body.classList.add(choice === "no preference" ? "neither" : "leaving");
  setTimeout(() => show(at + 1 < count ? at + 1 : next()), LEAVE);
}

const next = () => { const free = answers.indexOf(null); return free < 0 ? count : free; }; // the first pair without an answer
const turn = way => { if (open && (way < 0 ? at : answers[at])) show(way > 0 && at + 1 === count ? next() : at + way); };

function save() {
  const content = JSON.stringify({ study: about.study, rater: about.rater, answers });
  const link = Object.assign(document.createElement("a"), { download: file, href: URL.createObjectURL(new Blob([content], { type: "application/json" })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  $("#saved").textContent = `Saved as ${file}, where your browser puts downloads.`;
}

for (const button of all("[data-answer]")) button.onclick = event => {
  if (event.detail) button.blur(); // clicked, not chosen by keyboard: Space shall not press it again
  answer(button.dataset.answer);
};
for (const button of all(".save")) button.onclick = save;
$("#back").onclick = () => turn(-1);
$("#forward").onclick = () => turn(1);
$("#begin").onclick = () => show(next());
$("#again").onclick = () => show(0);

addEventListener("keydown", event => {
  const stacked = matchMedia("(max-aspect-ratio: 1)").matches;
  const action = { ArrowLeft: "first", ArrowRight: "second", " ": "no preference", Backspace: -1, ...stacked && { ArrowUp: "first", ArrowDown: "second" } }[event.key];
  if (!action || body.dataset.view !== "pair" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === " " && event.target.closest?.("button")) return; // it presses the button that has the focus
  event.preventDefault();
  if (event.repeat) return; // a key that is held down answers once
  if (action === -1) turn(-1); else answer(action);
});

keep();
view("start");
$("#begin").focus();
