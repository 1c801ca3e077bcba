// Reports of all kinds in Chromium: report.mjs checks each; README.md beside this file tells how.

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "../..");
const program = process.env.TAPER ?? join(root, "target/debug/taper");
const photographs = join(root, "../shared/data/trashnet");
const weights = join(root, "../shared/data/weights/efficientnet-lite0-57934424.pth");
const home = mkdtempSync(join(tmpdir(), "taper-reports-"));

after(() => rmSync(home, { recursive: true, force: true }));

const taper = (...args) => execFileSync(program, args, { cwd: home, stdio: ["ignore", "ignore", "inherit"] });

/** Checks the reports of these runs, all at once. */
function check(...runs) {
  const reports = runs.map((run) => join(home, run, "report.html"));
  const script = join(here, "report.mjs");
  const made = spawnSync(process.execPath, [script, ...reports, "--shots", join(here, "out")], { encoding: "utf8" });
  assert.equal(made.status, 0, made.stdout + made.stderr);
}

test("reports of a comparison, of learners and of classifiers of drawings", () => {
  const small = ["--ways", "3", "--queries", "2", "--backbone", "conv4-4"];
  taper("compare", "glyphs", ...small, "--episodes", "6", "--images", "100", "--tune-steps", "2", "--out", "compare");
  taper("meta-train", "glyphs", ...small, "--steps", "6", "--validate-every", "2", "--out", "meta-train");
  taper("evaluate", "meta-train", "glyphs", "--ways", "3", "--queries", "2", "--episodes", "5", "--trained-classes", "--out", "tasks");
  taper("train", "glyphs", "--backbone", "conv4-4", "--epochs", "1", "--out", "train");
  taper("evaluate", "train", "glyphs", "--trained-images", "--out", "images");
  check("compare", "meta-train", "tasks", "train", "images");
});

test("the report of a classifier of photographs", { skip: !existsSync(weights) && "no weights" }, () => {
  taper("train", join(photographs, "train"), "--weights", weights, "--budget", "20s", "--out", "photographs");
  taper("evaluate", "photographs", join(photographs, "val"), "--out", "evaluated");
  check("photographs", "evaluated");
});
