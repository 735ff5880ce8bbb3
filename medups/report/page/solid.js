"use strict";

// The surface voxels of all visible organs as shaded squares, seen from the front at first; all canvases turn together.
const turn = { yaw: 0.4, pitch: 0.25 };
const drawn = new Map(); // what each canvas shows: its surface, and the masks that the surface was made from

function solid(canvas, ids, info, { hidden, box }) {
  const key = [...hidden].sort().join();
  const last = drawn.get(canvas);
  const same = last && last.ids === ids && last.key === key;
  drawn.set(canvas, same ? last : { ids, key, surface: surfaceOf(ids, info, hidden, box) });
  if (!same) paint(canvas);
}

// Position in mm from the center of the box, outward normal, and color of every surface voxel: left, down, front.
function surfaceOf(ids, info, hidden, { first, last }) {
  const [slices, rows, columns] = info.shape, [high, deep, wide] = info.spacing_mm;
  const middle = first.map((start, axis) => (start + last[axis]) / 2);
  const colors = new Map(data.organs.filter((organ) => !hidden.has(organ.id)).map((organ) => [organ.id, rgb(organ.color)]));
  const at = (s, y, x) => (s < 0 || y < 0 || x < 0 || s >= slices || y >= rows || x >= columns ? 0 : ids[(s * rows + y) * columns + x]);
  const points = [];
  for (let s = 0; s < slices; s++) {
    for (let y = 0; y < rows; y++) {
      for (let x = 0; x < columns; x++) {
        const id = ids[(s * rows + y) * columns + x], color = colors.get(id);
        if (!color) continue;
        const out = [[s, y, x + 1], [s, y, x - 1], [s - 1, y, x], [s + 1, y, x], [s, y - 1, x], [s, y + 1, x]];
        const open = out.map((place) => (at(...place) === id ? 0 : 1));
        if (!open.some(Boolean)) continue;
        const normal = [(open[0] - open[1]) / wide, (open[2] - open[3]) / high, (open[4] - open[5]) / deep];
        const length = Math.hypot(...normal) || 1;
        const place = [(x - middle[2]) * wide, (middle[0] - s) * high, (middle[1] - y) * deep];
        points.push([...place, ...normal.map((part) => part / length), ...color]);
      }
    }
  }
  const size = Math.hypot(...info.spacing_mm.map((mm, axis) => (last[axis] - first[axis] + 1) * mm));
  return { points, size, voxel: Math.max(high, deep, wide) };
}

function rgb(hex) {
  return [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
}

function paint(canvas) {
  const { points, size, voxel } = drawn.get(canvas).surface;
  const side = 360, scale = side / size, square = Math.ceil(voxel * scale) + 1;
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  const picture = context.createImageData(side, side), depth = new Float32Array(side * side).fill(-Infinity);
  const [sinYaw, cosYaw, sinPitch, cosPitch] = [Math.sin(turn.yaw), Math.cos(turn.yaw), Math.sin(turn.pitch), Math.cos(turn.pitch)];
  const rotated = (x, y, z) => {
    const across = x * cosYaw + z * sinYaw, near = z * cosYaw - x * sinYaw;
    return [across, y * cosPitch + near * sinPitch, near * cosPitch - y * sinPitch];
  };
  for (const [x, y, z, nx, ny, nz, red, green, blue] of points) {
    const [across, down, near] = rotated(x, y, z);
    const light = 0.3 + 0.7 * Math.max(0, rotated(nx, ny, nz)[2]);
    const left = Math.round(side / 2 + across * scale - square / 2), top = Math.round(side / 2 + down * scale - square / 2);
    for (let v = Math.max(0, top); v < Math.min(side, top + square); v++) {
      for (let u = Math.max(0, left); u < Math.min(side, left + square); u++) {
        const pixel = v * side + u;
        if (near <= depth[pixel]) continue;
        depth[pixel] = near;
        picture.data.set([red * light, green * light, blue * light, 255], 4 * pixel);
      }
    }
  }
  context.putImageData(picture, 0, 0);
}

function turnable(canvases) {
  const by = (yaw, pitch) => {
    turn.yaw += yaw;
    turn.pitch = Math.max(-1.5, Math.min(1.5, turn.pitch + pitch));
    for (const canvas of canvases) if (drawn.has(canvas)) paint(canvas);
  };
  for (const canvas of canvases) {
    canvas.style.touchAction = "none";
    canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
    canvas.addEventListener("pointermove", (event) => {
      if (event.buttons) by(event.movementX / 120, event.movementY / 120);
    });
    canvas.addEventListener("keydown", (event) => {
      const turned = { ArrowLeft: [-0.2, 0], ArrowRight: [0.2, 0], ArrowUp: [0, -0.2], ArrowDown: [0, 0.2] }[event.key];
      if (!turned) return;
      event.preventDefault();
      by(...turned);
    });
  }
}

