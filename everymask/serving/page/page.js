"use strict";

const byId = (id) => document.getElementById(id);
const pictures = [];
let models = [];
let shown = null;
let chosen = null;
let dragged = null;
let boxed = false;
let cursor = [0, 0];

function say(text, bad = false) {
  byId("status").textContent = text;
  byId("status").className = bad ? "bad" : "";
}

function headers() {
  const key = byId("key").value;
  return key ? { "x-api-key": key } : {};
}

async function asked(address, options = {}) {
  const answer = await fetch(address, { ...options, headers: { ...headers(), ...(options.headers || {}) } });
  if (answer.ok) return answer;
  if (answer.status === 401) byId("key-field").hidden = false;
  const said = await answer.json().catch(() => ({ error: { message: `status ${answer.status}`, hint: "" } }));
  const error = new Error([said.error.message, said.error.hint].filter(Boolean).join(": "));
  error.status = answer.status;
  error.wait = Number(answer.headers.get("retry-after")) || 1;
  throw error;
}

async function findModels() {
  try {
    models = (await (await asked("/v1/models")).json()).models;
    byId("model").replaceChildren(...models.map((model) => new Option(`${model.name} (${model.task})`, model.name)));
    say("");
  } catch (error) {
    say(error.message, true);
  }
}

/* A busy service says when to come back; a person who waits would do just that. */
async function predicted(file) {
  const query = new URLSearchParams({ masks: "both", model: byId("model").value });
  for (let tries = 0; ; tries += 1) {
    try {
      const body = new FormData();
      body.append("file", file, file.name);
      return await (await asked(`/v1/predict?${query}`, { method: "POST", body })).json();
    } catch (error) {
      if (error.status !== 503 || tries === 4) throw error;
      say(`The service is busy; trying again in ${error.wait} s …`);
      await new Promise((done) => setTimeout(done, 1000 * error.wait));
    }
  }
}

/* A model that is asked: the picture is sent once, and each click or box is a question about it. */
async function begun(file) {
  const body = new FormData();
  body.append("file", file, file.name);
  const query = new URLSearchParams({ model: byId("model").value });
  const session = await (await asked(`/v1/sessions?${query}`, { method: "POST", body })).json();
  const model = models.find((each) => each.name === session.model);
  const labels = { names: model.classes, colours: model.colours };
  const answer = { size: session.size, labels, model: session.model, seconds: 0, objects: [] };
  return { answer, session: session.session };
}

async function prompt(what, body) {
  const picture = shown;
  if (!picture || !picture.session || picture.asking) return;
  picture.asking = true;
  try {
    const options = { method: "POST" };
    if (body) Object.assign(options, { body: JSON.stringify(body), headers: { "content-type": "application/json" } });
    const said = await asked(`/v1/sessions/${picture.session}/${what}?masks=both`, options);
    const found = said.status === 204 ? [] : (await said.json()).objects;
    if (what === "undo") picture.marks.pop();
    else if (what === "prompt") picture.marks.push(body);
    picture.current = found.map((object, place) => entry(object, picture.kept.length + place));
    picture.objects = [...picture.kept, ...picture.current];
    say(found.length ? `Score ${found[0].score.toFixed(2)}` : "");
  } catch (error) {
    say(error.message, true);
  }
  picture.asking = false;
  if (picture === shown) show(picture);
}

async function keep() {
  const picture = shown;
  if (!picture || !picture.session || picture.asking || !picture.current.length) return;
  picture.asking = true;
  try {
    await asked(`/v1/sessions/${picture.session}/reset`, { method: "POST" });
    picture.kept = [...picture.objects];
    Object.assign(picture, { current: [], marks: [] });
    say(`${picture.kept.length} kept`);
  } catch (error) {
    say(error.message, true);
  }
  picture.asking = false;
  draw();
}

function entry(object, place) {
  return { ...object, place, path: pathOf(object.polygons) };
}

async function add(files) {
  for (const file of files) {
    say(`Looking at ${file.name} …`);
    try {
      const prompted = (models.find((each) => each.name === byId("model").value) || {}).prompts;
      const { answer, session } = prompted ? await begun(file) : { answer: await predicted(file) };
      const model = models.find((each) => each.name === answer.model);
      const bitmap = await createImageBitmap(file).catch(() => null);
      const objects = answer.objects.map(entry);
      objects.sort((a, b) => (b.score ?? 1) - (a.score ?? 1));
      const off = new Set();
      pictures.push({ file, answer, model, bitmap, objects, off, session, kept: [], current: [], marks: [] });
      if (prompted) byId("score").value = 0;
      show(pictures[pictures.length - 1]);
      const done = prompted ? "click on an object" : `${objects.length} found in ${answer.seconds.toFixed(2)} s`;
      say(`${file.name}: ${done}${bitmap ? "" : "; this browser cannot show such files, so only masks are drawn"}`);
    } catch (error) {
      say(`${file.name}: ${error.message}`, true);
    }
  }
}

function pathOf(parts) {
  const path = new Path2D();
  for (const ring of parts.flat()) {
    ring.forEach(([x, y], corner) => (corner ? path.lineTo(x, y) : path.moveTo(x, y)));
    path.closePath();
  }
  return path;
}

function show(picture) {
  shown = picture;
  chosen = null;
  byId("work").hidden = false;
  const [height, width] = picture.answer.size;
  if (byId("canvas").width !== width || byId("canvas").height !== height) cursor = [width / 2, height / 2];
  byId("canvas").width = width;
  byId("canvas").height = height;
  byId("canvas").style.width = `min(100%, calc(70vh * ${width / height}))`;
  byId("prompting").hidden = byId("prompt-keys").hidden = !picture.session;
  byId("score-field").hidden = !picture.objects.some((object) => object.score !== undefined);
  const names = picture.answer.labels.names;
  const counts = names.map((_, id) => picture.objects.filter((object) => object.class_id === id).length);
  const rows = names.map((name, id) => ({ name, id })).filter(({ id }) => counts[id]);
  byId("classes").replaceChildren(...rows.map(({ name, id }) => {
    const row = document.createElement("label");
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: !picture.off.has(id) });
    box.addEventListener("change", () => {
      picture.off[box.checked ? "delete" : "add"](id);
      draw();
    });
    const colour = document.createElement("i");
    colour.style.background = `rgb(${picture.answer.labels.colours[id]})`;
    row.append(box, colour, `${name} (${counts[id]})`);
    return row;
  }));
  byId("pictures").replaceChildren(...pictures.map((each) => {
    const row = document.createElement("li");
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: each.file.name });
    button.setAttribute("aria-pressed", String(each === shown));
    button.addEventListener("click", () => show(each));
    row.append(button);
    return row;
  }));
  draw();
}

function visible() {
  const least = Number(byId("score").value);
  return shown.objects.filter((object) => (object.score ?? 1) >= least && !shown.off.has(object.class_id));
}

function draw() {
  if (!shown) return;
  const canvas = byId("canvas");
  paint(canvas, canvas.width * byId("split").value / 100);
  const found = visible();
  byId("count").textContent = `(${found.length})`;
  byId("score-shown").textContent = Number(byId("score").value).toFixed(2);
  byId("caption").textContent = chosen ? `${chosen.class}, ${chosen.area} pixels` : shown.session ? "Click on an object to find it." : "Click on an object to choose it.";
  canvas.setAttribute("aria-label", `${shown.file.name}, ${found.length} objects shown`);
  byId("objects").replaceChildren(...found.map((object) => {
    const row = document.createElement("li");
    const score = object.score === undefined ? "" : ` ${object.score.toFixed(2)}`;
    const text = `${object.class}${score}, ${object.area} px`;
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: text });
    button.setAttribute("aria-pressed", String(object === chosen));
    button.addEventListener("click", () => choose(object === chosen ? null : object, true));
    row.append(button);
    return row;
  }));
}

function paint(canvas, left, marked = true) {
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  context.clearRect(0, 0, width, height);
  if (shown.bitmap) context.drawImage(shown.bitmap, 0, 0, width, height);
  context.save();
  context.beginPath();
  context.rect(left, 0, width - left, height);
  context.clip();
  const thick = Math.max(1, Math.max(width, height) / 500);
  for (const object of visible().reverse()) {
    const [red, green, blue] = shown.answer.labels.colours[object.class_id];
    context.fillStyle = `rgb(${red} ${green} ${blue} / ${object === chosen ? 0.75 : 0.45})`;
    context.strokeStyle = object === chosen ? "#fff" : `rgb(${red} ${green} ${blue})`;
    context.lineWidth = object === chosen ? 2 * thick : thick;
    context.fill(object.path, "evenodd");
    context.stroke(object.path);
  }
  context.restore();
  for (const mark of marked ? shown.marks : []) paintMark(context, mark, thick);
  if (shown.session && document.activeElement === canvas) {
    context.strokeStyle = "#fff";
    context.strokeRect(cursor[0] - 4 * thick, cursor[1] - 4 * thick, 8 * thick, 8 * thick);
  }
  if (dragged && dragged.box) paintMark(context, { boxes: [dragged.box] }, thick);
  if (left > 0) {
    context.fillStyle = "#fff";
    context.fillRect(left - thick, 0, 2 * thick, height);
  }
}

function paintMark(context, { points = [], labels = [], boxes = [] }, thick) {
  context.lineWidth = 2 * thick;
  context.strokeStyle = "#fff";
  points.forEach(([x, y], place) => {
    context.fillStyle = labels[place] === 0 ? "#b3261e" : "#146c2e";
    context.beginPath();
    context.arc(x, y, 4 * thick, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
  });
  for (const [x1, y1, x2, y2] of boxes) context.strokeRect(x1, y1, x2 - x1, y2 - y1);
}

function choose(object, focus = false) {
  chosen = object;
  draw();
  if (object && focus) {
    const button = byId("objects").querySelector("[aria-pressed=true]");
    if (button) button.focus();
  }
}

function bridged(rings) {
  const [start] = rings[0];
  if (rings.length === 1) return rings[0];
  return [...rings[0], ...rings.slice(1).flatMap((ring) => [start, ...ring, ring[0]]), start];
}

function cell(value) {
  const text = /^[=+\-@\t\r]/.test(String(value)) && Number.isNaN(Number(value)) ? `'${value}` : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const savers = {
  async png() {
    const canvas = document.createElement("canvas");
    [canvas.height, canvas.width] = shown.answer.size;
    paint(canvas, 0, false);
    return [await new Promise((done) => canvas.toBlob(done, "image/png")), "_masks.png"];
  },
  coco() {
    const [height, width] = shown.answer.size;
    const annotations = visible().map((object, place) => {
      const [x1, y1, x2, y2] = object.box;
      return {
        id: place + 1, image_id: 1, category_id: object.class_id + 1, iscrowd: 0, area: object.area,
        bbox: [x1, y1, x2 - x1, y2 - y1], score: object.score ?? 1, ...(object.mask && { segmentation: object.mask }),
      };
    });
    const categories = shown.answer.labels.names.map((name, id) => ({ id: id + 1, name }));
    const images = [{ id: 1, file_name: shown.file.name, height, width }];
    return [JSON.stringify({ images, categories, annotations }), "_coco.json"];
  },
  labelme() {
    const [imageHeight, imageWidth] = shown.answer.size;
    const shapes = visible().flatMap((object) => object.polygons.map((part) => ({
      label: object.class, points: bridged(part), group_id: object.place + 1, shape_type: "polygon", flags: {},
    })));
    const about = { version: "5.5.0", flags: {}, imagePath: shown.file.name, imageData: null, imageHeight, imageWidth };
    return [JSON.stringify({ ...about, shapes }), ".json"];
  },
  csv() {
    const rows = visible().map((object, place) => [
      shown.file.name, place + 1, object.class, object.score ?? "", object.area, ...object.box,
    ]);
    const head = ["file", "object", "class", "score", "area", "x1", "y1", "x2", "y2"];
    return [[head, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n", ".csv"];
  },
};

async function save(form) {
  const [data, ending] = await savers[form]();
  const address = URL.createObjectURL(new Blob([data]));
  const link = Object.assign(document.createElement("a"), {
    href: address, download: shown.file.name.replace(/\.[^.]*$/, "") + ending,
  });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

byId("files").addEventListener("change", (event) => {
  add([...event.target.files]);
  event.target.value = "";
});
byId("key").addEventListener("change", findModels);
byId("undo").addEventListener("click", () => prompt("undo"));
byId("next").addEventListener("click", keep);
byId("canvas").addEventListener("keydown", (event) => {
  if (!shown || !shown.session) return;
  const [width, height] = [byId("canvas").width, byId("canvas").height];
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (event.key === "Enter") point(...cursor, event.shiftKey);
  if (!step) return;
  event.preventDefault();
  const far = Math.max(1, Math.max(width, height) / 50);
  cursor = [Math.min(Math.max(cursor[0] + far * step[0], 0), width - 1), Math.min(Math.max(cursor[1] + far * step[1], 0), height - 1)];
  draw();
});
for (const id of ["split", "score"]) byId(id).addEventListener("input", draw);
for (const button of document.querySelectorAll("[data-save]")) {
  button.addEventListener("click", () => save(button.dataset.save));
}
function placeOf(event) {
  const canvas = byId("canvas");
  const place = canvas.getBoundingClientRect();
  const x = (event.clientX - place.left) * canvas.width / place.width;
  const y = (event.clientY - place.top) * canvas.height / place.height;
  return [Math.min(Math.max(x, 0), canvas.width - 0.01), Math.min(Math.max(y, 0), canvas.height - 0.01)];
}

function point(x, y, beside) {
  return prompt("prompt", { points: [[x, y]], labels: [beside ? 1 - byId("meaning").value : Number(byId("meaning").value)] });
}

byId("canvas").addEventListener("pointerdown", (event) => {
  if (!shown || !shown.session) return;
  dragged = { from: placeOf(event), box: null };
  byId("canvas").setPointerCapture(event.pointerId);
});
byId("canvas").addEventListener("pointermove", (event) => {
  if (!dragged) return;
  const [[x1, y1], [x2, y2]] = [dragged.from, placeOf(event)];
  const box = [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)];
  const least = Math.max(shown.answer.size[0], shown.answer.size[1]) / 100;
  dragged.box = box[2] - box[0] > least && box[3] - box[1] > least ? box : null;
  paint(byId("canvas"), byId("canvas").width * byId("split").value / 100);
});
byId("canvas").addEventListener("pointerup", () => {
  const box = dragged && dragged.box;
  dragged = null;
  if (!box) return;
  boxed = true;
  shown.marks = [];
  prompt("prompt", { boxes: [box] });
});
byId("canvas").addEventListener("click", (event) => {
  const [x, y] = placeOf(event);
  if (shown.session) {
    if (!boxed) point(x, y, event.shiftKey);
    boxed = false;
    return;
  }
  const context = byId("canvas").getContext("2d");
  choose(visible().find((object) => context.isPointInPath(object.path, x, y, "evenodd")) || null);
});
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    byId("drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
    if (kind === "drop") add([...event.dataTransfer.files]);
  });
}
document.addEventListener("paste", (event) => add([...event.clipboardData.files]));
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT)$/.test(event.target.tagName)) return;
  if (event.key === "o") byId("files").click();
  if (!shown) return;
  const found = visible();
  const step = { n: 1, p: -1 }[event.key];
  if (step && found.length) choose(found[(found.indexOf(chosen) + step + found.length) % found.length], true);
  if (event.key === "b") {
    byId("split").value = Number(byId("split").value) > 50 ? 0 : 100;
    draw();
  }
  if (event.key === "Escape") choose(null);
  if (event.key === "u") prompt("undo");
  if (event.key === "k") keep();
});
findModels();
