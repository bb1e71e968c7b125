// What a reader of the report does, step by step; the page's title tells what was seen.
const cards = () => document.querySelectorAll("article").length, told = [];
const set = (id, value) => { $("#" + id).value = value; $("#" + id).dispatchEvent(new Event("input")); };
const ink = () => { const c = $("canvas"); return c.getContext("2d").getImageData(0, 0, c.width, c.height).data.reduce((a, b) => a + b, 0); };
const pointer = (type, x, y) => canvas.dispatchEvent(new PointerEvent(type, { pointerId: 1, clientX: x, clientY: y, bubbles: true }));
const steps = {
  first: () => `${cards()} ${$("#found").textContent}`,
  next: () => { $("[data-turn='1']").click(); return `${cards()} ${$("#found").textContent}`; },
  rejected: () => { set("status", "rejected"); return `${cards()} ${$("article .why").textContent}`; },
  action: () => { set("status", "ok"); set("action", "diving"); return fitting.every(row => row.prompt.endsWith("diving")) && fitting.length; },
  score: () => { set("action", ""); set("measure", "oks"); set("least", "0.75"); return fitting.every(row => row.oks >= 0.75) && fitting.length; },
  most: () => { $("#way").click(); const count = fitting.length; $("#way").click(); return count; },
  order: () => { set("order", "down"); return fitting.every((row, i) => !i || row.oks <= fitting[i - 1].oks); },
  search: () => { set("least", ""); set("order", ""); set("text", "00000007"); return `${cards()} ${$("article code").textContent}`; },
  hover: () => { const before = $("article img").src; $("article .tabs [value=depth]").dispatchEvent(new PointerEvent("pointerenter")); return before !== $("article img").src; },
  column: () => { $("#column [value=mesh]").click(); return $("article img").src === sample(fitting[0]).pictures.mesh; },
  open: () => { set("text", ""); $("article .picture").click(); return `${dialog.open} ${$("#strip").children.length} ${$("#facts").children.length > 16}`; },
  look: () => { $("#strip [value=initial]").click(); return large.src === sample(fitting[at]).pictures.initial; },
  turn: () => {
    $("#strip [value='3d']").click();
    canvas.setPointerCapture = () => {};
    const before = ink();
    pointer("pointerdown", 10, 10); pointer("pointermove", 250, 30); pointer("pointerup", 250, 30);
    return [before > 0, turned.yaw, turned.drawn];
  },
  turned: () => [ink() > 0, turned.drawn > 1],
  keys: () => {
    const press = (where, key) => where.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    const { yaw, near } = turned, before = at;
    press(canvas, "ArrowLeft"); press(canvas, "+");
    return turned.yaw !== yaw && turned.near > near && at === before;
  },
  after: () => { $("#after").click(); return `${at} ${canvas.hidden}`; },
  up: () => { const before = shown; dialog.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowUp" })); return before === "3d" && shown === "mesh" && !large.hidden; },
  close: () => { $("#close").click(); return dialog.open; },
  nothing: () => { set("text", "no such prompt"); return `${cards()} ${$(".empty button").textContent}`; },
  everything: () => { $(".empty button").click(); return cards(); },
};
addEventListener("error", event => told.push(["error", event.message]));
addEventListener("load", async () => {
  for (const [name, step] of Object.entries(steps)) { told.push([name, step()]); await new Promise(done => setTimeout(done, 50)); }
  const images = await Promise.all(Object.values(sample(data.rows.find(row => row.sample === 0)).pictures).map(async src => { const i = new Image(); i.src = src; await i.decode(); return i.naturalWidth; }));
  told.push(["images", images]);
  document.title = JSON.stringify(Object.fromEntries(told));
});
