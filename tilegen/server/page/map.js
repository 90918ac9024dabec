// The map. Its coordinates are pixels of the imagery: x is the column, y the negative row, both exact in a double.

import {interactions, Map, Projection, TileGrid, TileImage, TileLayer, TileState, View} from "./openlayers.js";
import {command, hasCommand, parsedPlace, parsedSeed, readout, visibleArea} from "./readout.js";

const MOST_ATTEMPTS = 8;
const MAGNIFIED = [0.5, 0.25, 0.125]; // beyond full resolution: larger pixels, none new

const byId = (id) => document.getElementById(id);
const say = (text) => { byId("status").textContent = text; };

/** Load a tile; where the server is busy, ask again when it says so. */
async function load(tile, url, attempt = 1) {
  const answer = await fetch(url).catch(() => null);
  if (answer?.ok) {
    const image = tile.getImage();
    const address = URL.createObjectURL(await answer.blob());
    image.addEventListener("load", () => URL.revokeObjectURL(address), {once: true});
    image.src = address;
  } else if ([429, 503].includes(answer?.status) && attempt < MOST_ATTEMPTS) {
    const seconds = Number(answer.headers.get("Retry-After")) || 2;
    setTimeout(() => load(tile, url, attempt + 1), 1000 * seconds * (0.5 + Math.random()));
  } else {
    if (answer?.status !== 404) say("Some tiles did not arrive. Move the map to ask again.");
    tile.setState(TileState.ERROR);
  }
}

function imagerySource(info, projection, seed, version) {
  const half = info.centred ? info.tile_px * 2 ** (info.native_zoom - 1) : 0;
  return new TileImage({
    projection,
    tileGrid: new TileGrid({
      origin: [-half, half],
      resolutions: Array.from({length: info.native_zoom + 1}, (_, zoom) => 2 ** (info.native_zoom - zoom)),
      minZoom: info.min_zoom,
      tileSize: info.tile_px,
      extent: info.edge ? [info.edge[1], -info.edge[2], info.edge[3], -info.edge[0]] : undefined,
    }),
    tileUrlFunction: (place) =>
      place && `map/tiles/native/${place[0]}/${place[2]}/${place[1]}?f=png&seed=${seed}&v=${version}`,
    tileLoadFunction: load,
    interpolate: false,
    transition: 0,
    wrapX: false,
  });
}

/** Where the address of the page says to look: #seed=…&level=…&row=…&col=… */
function asked(info) {
  const given = new URLSearchParams(location.hash.slice(1));
  const farthest = info.tile_px * 2 ** (info.native_zoom - 1);
  const edge = info.centred ? null : info.edge;
  const middle = edge ? [Math.round((edge[0] + edge[2]) / 2), Math.round((edge[1] + edge[3]) / 2)] : [0, 0];
  const number = (name, otherwise, least, most) => {
    const value = given.has(name) ? Number(given.get(name)) : NaN;
    return value >= least && value <= most ? value : otherwise;
  };
  return {
    seed: info.is_seed_fixed ? info.seed : parsedSeed(given.get("seed") ?? "") ?? info.seed,
    level: Math.round(number("level", 0, -MAGNIFIED.length, info.native_zoom - info.min_zoom)),
    row: number("row", middle[0], -farthest, 2 * farthest),
    col: number("col", middle[1], -farthest, 2 * farthest),
  };
}

async function start() {
  const answer = await fetch("info.json");
  const info = await answer.json();
  if (!answer.ok) return say(info.error);
  const numLevels = info.native_zoom - info.min_zoom + 1;
  const resolutions = [...Array.from({length: numLevels}, (_, i) => 2 ** (numLevels - 1 - i)), ...MAGNIFIED];
  const projection = new Projection({code: "tilegen:pixels", units: "pixels"});
  const layer = new TileLayer();
  const view = new View({
    projection, resolutions, constrainResolution: true, enableRotation: false, multiWorld: true,
    center: [0, 0], resolution: 1,
  });
  // A map that can have the focus would be deaf to mouse and wheel without it.
  const map = new Map({target: "map", layers: [layer], view, interactions: interactions({onFocusOnly: false})});
  let seed = null;

  function show(place) {
    if (place.seed !== seed) {
      seed = place.seed;
      byId("seed").value = seed;
      layer.setSource(imagerySource(info, projection, seed, info.version));
    }
    view.setCenter([place.col, -place.row]);
    view.setResolution(2 ** place.level);
  }

  const area = () => visibleArea(info, view.calculateExtent(map.getSize()));

  function describe() {
    const [col, y] = view.getCenter();
    const level = Math.round(Math.log2(view.getResolution()));
    history.replaceState(null, "", `#seed=${seed}&level=${level}&row=${-y}&col=${col}`);
    const seen = area();
    const fits = seen !== null && Math.max(seen.rows, seen.cols) <= info.max_download_px;
    byId("size").textContent = seen ? `In view: ${seen.cols} × ${seen.rows} pixels` : "Nothing in view";
    byId("tif").disabled = byId("png").disabled = !fits;
    byId("tif").title = byId("png").title = fits ? "" : `At most ${info.max_download_px} pixels a side`;
    const found = seen && hasCommand(info, seed) ? command(info, seen, seed) : "";
    byId("copy").disabled = !found;
    byId("command").value = found;
    byId("command").hidden = !info.command;
  }

  async function download(ending) {
    const seen = area();
    say("Painting the file …");
    const file = await fetch(`download.${ending}?${new URLSearchParams({...seen, seed})}`).catch(() => null);
    if (!file?.ok) return say(file ? (await file.json()).error : "The server does not answer.");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await file.blob());
    link.download = /filename="(.*)"/.exec(file.headers.get("Content-Disposition"))[1];
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    return say(`Saved ${link.download}`);
  }

  async function copy() {
    byId("command").select();
    try {
      await navigator.clipboard.writeText(byId("command").value);
      say("Copied.");
    } catch {
      say("Press Ctrl-C to copy the selected command."); // without https a browser lets no page do it
    }
  }

  byId("title").textContent = `tilegen · ${info.model ?? info.name}`;
  byId("seed").disabled = byId("random").disabled = info.is_seed_fixed;
  byId("seed-form").hidden = info.kind === "product";
  byId("notice").textContent = [info.notice, info.attribution, info.licence].filter(Boolean).join("  ·  ");
  byId("seed-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = parsedSeed(byId("seed").value);
    say(wanted === null ? "A seed is a whole number from 0 to 2⁶⁴ − 1." : "");
    if (wanted !== null) show({...asked(info), seed: wanted});
    describe();
  });
  byId("random").addEventListener("click", () => {
    byId("seed").value = String(crypto.getRandomValues(new Uint32Array(1))[0]);
    byId("seed-form").requestSubmit();
  });
  byId("place-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = parsedPlace(byId("place").value, info.tile_px * 2 ** (info.native_zoom - 1));
    say(wanted === null ? "A place is a row and a column, such as -2048, 1000000." : "");
    if (wanted !== null) show({...asked(info), seed, ...wanted});
  });
  byId("tif").addEventListener("click", () => download("tif"));
  byId("png").addEventListener("click", () => download("png"));
  byId("copy").addEventListener("click", copy);
  map.on("pointermove", (event) => {
    byId("readout").textContent = readout(info, -event.coordinate[1], event.coordinate[0]);
  });
  map.on("moveend", describe);
  map.on("rendercomplete", () => { document.body.dataset.drawn = `${seed}@${view.getCenter()}@${view.getResolution()}`; });
  addEventListener("hashchange", () => show(asked(info)));
  show(asked(info));
}

start();
