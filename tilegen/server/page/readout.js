// What the page says in words: places, areas and commands. Rows count down, columns to the right, as in tilegen.

/** Numbers of a ground coordinate, as short as they are exact to a hundredth of a pixel. */
export function ground(info, row, col) {
  const digits = Math.max(0, Math.ceil(-Math.log10(info.res)) + 2);
  const [x, y] = [info.origin[0] + col * info.res, info.origin[1] - row * info.res];
  return `${x.toFixed(digits)}, ${y.toFixed(digits)} ${info.unit}`;
}

/** The line about the pixel under the pointer. */
export function readout(info, row, col) {
  const pixel = `pixel ${Math.floor(row)}, ${Math.floor(col)}`;
  const cell = info.cell_px ? `cell ${Math.floor(row / info.cell_px)}, ${Math.floor(col / info.cell_px)}` : null;
  return [pixel, cell, `${ground(info, row, col)} (${info.crs.length > 20 ? "CRS" : info.crs})`]
    .filter(Boolean).join("  ·  ");
}

/** Whole pixels inside an extent [xmin, ymin, xmax, ymax] of the map, cut at the edge; null if there are none. */
export function visibleArea(info, extent) {
  const edge = info.edge ?? [-Infinity, -Infinity, Infinity, Infinity];
  const row = Math.max(Math.round(-extent[3]), edge[0]);
  const col = Math.max(Math.round(extent[0]), edge[1]);
  const rows = Math.min(Math.round(-extent[1]), edge[2]) - row;
  const cols = Math.min(Math.round(extent[2]), edge[3]) - col;
  return rows > 0 && cols > 0 ? {row, col, rows, cols} : null;
}

/** Whether there is a command for the world of a seed: that of a world's file has no place for another seed. */
export function hasCommand(info, seed) {
  return Boolean(info.command) && (info.command.includes("{seed}") || seed === info.seed);
}

/** The command that makes a file of an area, ready for a shell. */
export function command(info, area, seed) {
  const values = {
    ...area, seed, x: info.origin[0] + area.col * info.res, y: info.origin[1] - area.row * info.res,
  };
  const filled = info.command.map((word) => word.replace(/\{(\w+)\}/g, (_, name) => String(values[name])));
  return filled.map(quoted).join(" ");
}

function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** The seed in a text as decimal digits; null if it is none. */
export function parsedSeed(text) {
  const digits = text.trim();
  return /^[0-9]{1,20}$/.test(digits) && BigInt(digits) < 2n ** 64n ? BigInt(digits).toString() : null;
}

/** {row, col} in a text such as "-120, 4000"; null if it is none, or beyond the map. */
export function parsedPlace(text, farthest) {
  const found = /^\s*(-?[0-9]{1,13})[\s,;]+(-?[0-9]{1,13})\s*$/.exec(text);
  if (!found) return null;
  const [row, col] = [Number(found[1]), Number(found[2])];
  return Math.abs(row) < farthest && Math.abs(col) < farthest ? {row, col} : null;
}
