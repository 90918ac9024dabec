// What the page of `tilegen serve` takes from OpenLayers; scripts/build_openlayers.sh bundles it.
export {default as Map} from "ol/Map.js";
export {default as Projection} from "ol/proj/Projection.js";
export {default as TileGrid} from "ol/tilegrid/TileGrid.js";
export {default as TileImage} from "ol/source/TileImage.js";
export {default as TileLayer} from "ol/layer/Tile.js";
export {default as TileState} from "ol/TileState.js";
export {default as View} from "ol/View.js";
export {defaults as interactions} from "ol/interaction/defaults.js";
