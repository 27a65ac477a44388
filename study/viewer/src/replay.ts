/** The page of one recording: mounts on `<div id="replay" data-config="id of a JSON script">`. */

import { jsonScript } from "./dom.ts";
import { excuse, replay } from "./gaze-replay.ts";
import type { ReplayConfig } from "./gaze-replay.ts";

const root = document.getElementById("replay");
if (root) {
  replay(root, jsonScript<ReplayConfig>(root.dataset.config ?? "replay-config")).catch((error: unknown) => excuse(root, error));
}
