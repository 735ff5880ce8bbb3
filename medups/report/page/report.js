const data = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);

// Tables: a click on a column's title sorts by it.
for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("thead th").forEach((header, column) => {
    const button = document.createElement("button");
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => sortBy(table, header, column));
  });
}

function sortBy(table, header, column) {
  const ascending = header.getAttribute("aria-sort") !== "ascending";
  table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const value = (row) => {
    const text = row.cells[column].textContent;
    return text !== "" && Number.isFinite(Number(text)) && column > 0 ? Number(text) : text;
  };
  const order = (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (typeof x === "number" && typeof y === "number") return x - y;
    if (typeof x === "number") return -1; // words such as "missed" go last
    if (typeof y === "number") return 1;
    return x.localeCompare(y, undefined, { numeric: true });
  };
  const rows = [...table.tBodies[0].rows].sort(order);
  table.tBodies[0].append(...(ascending ? rows : rows.reverse()));
}

// The viewer: each case is three volumes [slices, rows, columns], decoded from pictures of all slices.
const volumes = new Map();
const LARGEST_MM = 10; // shown as red, as is an organ that the label lacks
const view = { index: 0, cursor: [0, 0, 0], hidden: new Set(), beside: "", box: null };

async function pixels(url, info) {
  const picture = new Image();
  picture.src = url;
  await picture.decode();
  const canvas = document.createElement("canvas");
  canvas.width = picture.width;
  canvas.height = picture.height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  const rgba = context.getImageData(0, 0, canvas.width, canvas.height).data;
  const [slices, height, width] = info.shape;
  const volume = new Uint8Array(slices * height * width);
  for (let s = 0; s < slices; s++) {
    const top = Math.floor(s / info.columns) * height, left = (s % info.columns) * width;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        volume[(s * height + y) * width + x] = rgba[4 * ((top + y) * canvas.width + left + x)];
      }
    }
  }
  return volume;
}

async function load(index) {
  const info = data.cases[index];
  const urls = [info.image, info.pred, info.label, info.others[view.beside], info.distances];
  return Promise.all(urls.map((url) => (url ? decoded(url, info) : null)));
}

function decoded(url, info) {
  if (!volumes.has(url)) volumes.set(url, pixels(url, info));
  return volumes.get(url);
}

// The axes that run down and across each plane, and the axis through it. Heads are up, so slices run upward.
const PLANES = [
  { down: 1, across: 2, through: 0, flip: false },
  { down: 0, across: 2, through: 1, flip: true },
  { down: 0, across: 1, through: 2, flip: true },
];

async function draw() {
  const index = view.index;
  const beside = view.beside;
  const [image, pred, label, other, distances] = await load(index);
  if (index !== view.index || beside !== view.beside) return;
  element("beside-planes").hidden = other === null;
  element("beside-name").textContent = beside;
  PLANES.forEach((plane, number) => {
    drawPlane(plane, element(`plane-${number}`), data.cases[index], image, pred, label, distances);
    if (other) drawPlane(plane, element(`other-${number}`), data.cases[index], image, other, label);
    element(`slider-${number}`).value = view.cursor[plane.through];
  });
  element("solid-beside").hidden = other === null;
  element("solid-name").textContent = beside;
  const solids = [["label", label], ["pred", pred], ["other", other]].filter(([, ids]) => ids);
  for (const [name, ids] of solids) solid(element(`solid-${name}`), ids, data.cases[index], view);
}

function drawPlane(plane, canvas, info, image, pred, label, distances) {
  const stride = [info.shape[1] * info.shape[2], info.shape[2], 1];
  const [height, width] = [info.shape[plane.down], info.shape[plane.across]];
  const start = view.cursor[plane.through] * stride[plane.through];
  const at = (y, x) => start + (plane.flip ? height - 1 - y : y) * stride[plane.down] + x * stride[plane.across];
  const scale = Math.max(1, Math.ceil(420 / width));
  const ratio = info.spacing_mm[plane.down] / info.spacing_mm[plane.across];
  canvas.width = width * scale;
  canvas.height = Math.max(1, Math.round(height * scale * ratio));
  const context = canvas.getContext("2d");
  const gray = new ImageData(width, height);
  const errors = element("show-errors").checked;
  const surfaces = distances && element("show-distances").checked;
  const seen = (id) => id && !view.hidden.has(id);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const voxel = at(y, x), pixel = 4 * (y * width + x);
      const value = image ? image[voxel] : 40;
      let color = [value, value, value];
      if (errors && pred[voxel] !== label[voxel] && (seen(pred[voxel]) || seen(label[voxel]))) {
        color = seen(pred[voxel]) ? [255, value / 2, value / 2] : [value / 2, value / 2, 255];
      }
      if (surfaces && distances[voxel] && seen(pred[voxel])) {
        const share = Math.min(1, (distances[voxel] - 1) / LARGEST_MM); // green, yellow, red
        color = [255 * Math.min(1, 2 * share), 255 * Math.min(1, 2 - 2 * share), 0];
      }
      gray.data.set([...color, 255], pixel);
    }
  }
  const small = document.createElement("canvas");
  small.width = width;
  small.height = height;
  small.getContext("2d").putImageData(gray, 0, 0);
  context.imageSmoothingEnabled = true;
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
  const steps = [canvas.height / height, canvas.width / width];
  if (element("show-label").checked) contours(context, label, at, height, width, steps, []);
  if (element("show-pred").checked) contours(context, pred, at, height, width, steps, [4, 3]);
  crosshair(context, plane, info, steps, height);
}

function contours(context, ids, at, height, width, [tall, wide], dash) {
  context.lineWidth = 1.6;
  context.setLineDash(dash);
  for (const organ of data.organs) {
    if (view.hidden.has(organ.id)) continue;
    const inside = (y, x) => y >= 0 && x >= 0 && y < height && x < width && ids[at(y, x)] === organ.id;
    context.strokeStyle = organ.color;
    context.beginPath();
    for (let y = 0; y <= height; y++) {
      for (let x = 0; x <= width; x++) {
        const here = inside(y, x);
        if (here !== inside(y - 1, x)) line(context, x * wide, y * tall, (x + 1) * wide, y * tall);
        if (here !== inside(y, x - 1)) line(context, x * wide, y * tall, x * wide, (y + 1) * tall);
      }
    }
    context.stroke();
  }
  context.setLineDash([]);
}

function line(context, x0, y0, x1, y1) {
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
}

function crosshair(context, plane, info, [tall, wide], height) {
  const row = view.cursor[plane.down];
  const y = ((plane.flip ? height - 1 - row : row) + 0.5) * tall;
  const x = (view.cursor[plane.across] + 0.5) * wide;
  context.strokeStyle = "rgba(255, 255, 0, 0.35)";
  context.lineWidth = 1;
  context.beginPath();
  line(context, 0, y, context.canvas.width, y);
  line(context, x, 0, x, context.canvas.height);
  context.stroke();
}

function move(axis, position) {
  const last = data.cases[view.index].shape[axis] - 1;
  view.cursor[axis] = Math.min(last, Math.max(0, Math.round(position)));
}

// The cursor starts at the middle of everything that is labeled or predicted.
async function choose(index) {
  view.index = index;
  element("case").value = index;
  const info = data.cases[index];
  const [, pred, label] = await load(index);
  const sums = [0, 0, 0], first = [...info.shape], last = [0, 0, 0];
  let count = 0;
  for (let voxel = 0; voxel < label.length; voxel++) {
    if (!label[voxel] && !pred[voxel]) continue;
    count++;
    const [, rows, columns] = info.shape;
    [Math.floor(voxel / (rows * columns)), Math.floor(voxel / columns) % rows, voxel % columns].forEach((at, axis) => {
      sums[axis] += at;
      first[axis] = Math.min(first[axis], at);
      last[axis] = Math.max(last[axis], at);
    });
  }
  view.box = count ? { first, last } : { first: [0, 0, 0], last: info.shape };
  [0, 1, 2].forEach((axis) => {
    element(`slider-${axis}`).max = info.shape[PLANES[axis].through] - 1;
    move(axis, count ? sums[axis] / count : info.shape[axis] / 2);
  });
  for (const row of document.querySelectorAll("tbody tr")) {
    row.classList.toggle("chosen", row.querySelector(`[data-case="${CSS.escape(info.name)}"]`) !== null);
  }
  await draw();
}

function start() {
  data.cases.forEach((info, index) => element("case").append(new Option(info.name, index)));
  element("case").addEventListener("change", () => choose(Number(element("case").value)));
  const others = [...new Set(data.cases.flatMap((info) => Object.keys(info.others)))];
  element("beside").append(...others.map((name) => new Option(name, name)));
  element("beside").value = view.beside = others[0] || "";
  element("beside-label").hidden = !others.length;
  element("beside").addEventListener("change", () => {
    view.beside = element("beside").value;
    draw();
  });
  for (const id of ["show-label", "show-pred", "show-errors", "show-distances"]) element(id).addEventListener("change", draw);
  for (const organ of data.organs) {
    const label = document.createElement("label"), box = document.createElement("input");
    box.type = "checkbox";
    box.checked = true;
    box.addEventListener("change", () => {
      box.checked ? view.hidden.delete(organ.id) : view.hidden.add(organ.id);
      draw();
    });
    const name = document.createElement("span");
    name.textContent = ` ${organ.name}`;
    name.style.borderBottom = `3px solid ${organ.color}`;
    label.append(box, name);
    element("organs").append(label);
  }
  PLANES.forEach((plane, number) => {
    element(`slider-${number}`).addEventListener("input", (event) => {
      move(plane.through, Number(event.target.value));
      draw();
    });
    for (const canvas of [element(`plane-${number}`), element(`other-${number}`)]) listen(canvas, plane);
  });
  turnable(["label", "pred", "other"].map((name) => element(`solid-${name}`)));
  document.addEventListener("click", (event) => {
    const name = event.target.closest("[data-case]")?.dataset.case;
    const index = data.cases.findIndex((info) => info.name === name);
    if (index < 0) return;
    choose(index);
    element("viewer").scrollIntoView({ behavior: "smooth" });
  });
  const first = document.querySelector("tbody th[data-case]")?.dataset.case;
  choose(Math.max(0, data.cases.findIndex((info) => info.name === first)));
}

function listen(canvas, plane) {
  canvas.addEventListener("click", (event) => {
    const { shape } = data.cases[view.index];
    const row = Math.floor((event.offsetY / canvas.clientHeight) * shape[plane.down]);
    move(plane.down, plane.flip ? shape[plane.down] - 1 - row : row);
    move(plane.across, Math.floor((event.offsetX / canvas.clientWidth) * shape[plane.across]));
    draw();
  });
  const step = (event, amount) => {
    event.preventDefault();
    move(plane.through, view.cursor[plane.through] + amount);
    draw();
  };
  canvas.addEventListener("wheel", (event) => step(event, Math.sign(event.deltaY)), { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const amount = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10 }[event.key];
    if (amount) step(event, amount);
  });
}

if (data.cases.length) start();
