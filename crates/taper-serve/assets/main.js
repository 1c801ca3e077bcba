// The page: what is shown, what it is guessed to be, and the classes.

import { color, showCards } from "./cards.js";
import { Guess } from "./guess.js";
import { Photographs } from "./photographs.js";
import { Problem, addClass, addExample, follow, removeClass, removeExample, renameClass, save, undo } from "./server.js";
import { Sheet } from "./sheet.js";
import { chooseLanguage, say, sayProblem, switchLanguage } from "./words.js";

/** A picture of the camera is guessed so often. */
const CAMERA_EVERY = 400;
const MESSAGE_TIME = 9000;

const by = (id) => document.getElementById(id);

let state = null;
let tab = "drawings";

const sheet = new Sheet(by("sheet"), () => {
  showStage();
  guess.ask();
});
const photographs = new Photographs(by("pictures"), by("camera"), pictured, report);
const guess = new Guess(present, (name) => attempt(() => teach(name)), (error) => report(problemOf(error)));

setInterval(() => photographs.live && !document.hidden && guess.ask(), CAMERA_EVERY);

/** What is shown now, to be guessed; null if there is nothing, or nothing to tell it apart from. */
async function present() {
  const taught = state?.classes.filter((one) => one.examples.length > 0).length ?? 0;
  if (!state || (state.mode === "folder" && taught < 2)) return null;
  const blob = (await shown())[0];
  return blob ? { kind: tab, blob } : null;
}

/** The pictures that are shown: the drawing, opened files, or the camera's. */
async function shown() {
  if (tab === "photographs" || !photographs.empty) return photographs.blobs();
  return sheet.empty ? [] : [await sheet.png()];
}

/** Adds what is shown to the class of this name, which is made if there is none. */
async function teach(name, blobs) {
  const pictures = blobs ?? (await shown());
  if (pictures.length === 0) throw new Problem({ problem: "blank" });
  const same = (one) => one.name.toLowerCase() === name.trim().toLowerCase();
  let one = state.classes.find(same);
  if (!one) {
    const known = new Set(state.classes.map(({ id }) => id));
    update(await addClass(name));
    one = state.classes.find(({ id }) => !known.has(id));
  }
  for (const [place, picture] of pictures.entries()) {
    if (pictures.length > 1) tell(say("adding", { done: place + 1, total: pictures.length }));
    update(await addExample(one.id, tab, picture));
  }
  if (pictures.length > 1) tell("");
  if (blobs) return;
  if (photographs.live) return;
  by("name").value = "";
  if (!photographs.empty) photographs.clear();
  sheet.clear();
}

/** Does something; a problem is shown and nothing on the page is lost. */
async function attempt(act) {
  try {
    await act();
    return true;
  } catch (error) {
    report(problemOf(error));
    return false;
  }
}

const problemOf = (error) => (error instanceof Problem ? error.found : { problem: "other", detail: String(error) });

function report(found) {
  tell(sayProblem(found), true);
}

let hiding;
function tell(text, bad = false) {
  clearTimeout(hiding);
  const message = by("message");
  message.hidden = !text;
  message.classList.toggle("bad", bad);
  message.firstChild.textContent = text;
  if (text) hiding = setTimeout(() => (message.hidden = true), MESSAGE_TIME);
}

/** Shows a state, unless a newer one is shown already. */
function update(next) {
  if (state && next.version < state.version) return;
  const first = state === null;
  state = next;
  if (state.kind && (first || state.mode === "folder")) tab = state.kind;
  guess.editable = state.mode === "folder";
  guess.ready = state.classes.filter((one) => one.examples.length > 0).length > 1 || state.mode !== "folder";
  guess.colors = new Map(state.classes.map((one, place) => [one.name, color(place)]));
  showState();
  showStage();
  guess.ask();
  document.body.dataset.version = state.version;
}

function showState() {
  const folder = state.mode === "folder";
  document.title = `${state.name.split(/[\\/]/).pop()} – Taper`;
  by("folder").textContent = say(folder ? (state.kind ? `folder-${state.kind}` : "folder") : "classifier", { name: state.name });
  const counts = { classes: state.classes.length, examples: state.examples };
  by("count").textContent = folder && counts.classes > 0 ? say(counts.classes === 1 ? "countOne" : "count", counts) : "";
  by("reading").textContent = state.read < state.examples ? say("reading", { read: state.read, examples: state.examples }) : "";
  by("undo").hidden = by("save").hidden = by("teach").hidden = !folder;
  by("undo").disabled = !state.undo;
  by("undo").textContent = state.undo ? say(`undo-${state.undo.what}`, state.undo) : say("undo");
  by("save").disabled = !guess.ready;
  const options = state.classes.map(({ name }) => Object.assign(document.createElement("option"), { value: name }));
  by("names").replaceChildren(...options);
  showCards(by("cards"), state, actions);
}

/** Shows the sheet, the pictures or the camera. */
function showStage() {
  if (!state) return;
  const drawings = tab === "drawings";
  const fixed = state.mode === "folder" && state.kind !== null;
  for (const kind of ["drawings", "photographs"]) {
    const button = by(`tab-${kind}`);
    button.setAttribute("aria-pressed", tab === kind);
    button.disabled = fixed && state.kind !== kind;
  }
  by("kind-note").hidden = !fixed;
  by("kind-note").textContent = fixed ? say(state.kind === "drawings" ? "drawingsOnly" : "photographsOnly") : "";
  document.body.classList.toggle("drawings", drawings);
  const onSheet = drawings && photographs.empty;
  by("sheet").hidden = by("unstroke").hidden = !onSheet;
  by("sheet-hint").hidden = !onSheet || !sheet.empty;
  by("camera").hidden = !photographs.live;
  by("pictures").hidden = onSheet || photographs.live;
  by("unstroke").disabled = sheet.empty;
  by("clear").disabled = onSheet ? sheet.empty : photographs.empty;
  by("use-camera").hidden = drawings;
  by("use-camera").textContent = say(photographs.live ? "cameraOff" : "camera");
  const missing = state.weights_command && (state.kind === "photographs" || !drawings);
  by("weights").hidden = !missing;
  if (missing) {
    const command = Object.assign(document.createElement("code"), { textContent: state.weights_command });
    by("weights").replaceChildren(say("weights"), " ", command);
  }
}

function pictured() {
  showStage();
  guess.ask();
}

const actions = {
  rename: (id, name) => attempt(async () => update(await renameClass(id, name))).then((done) => done || showState()),
  removeClass: (id) => attempt(async () => update(await removeClass(id))),
  removeExample: (id) => attempt(async () => update(await removeExample(id))),
  add: (name) => attempt(() => teach(name)),
  drop: (name, files) => files.length > 0 && attempt(() => teach(name, [...files])),
};

const undoLast = () => attempt(async () => update(await undo()));

function choose(kind) {
  tab = kind;
  photographs.stop();
  photographs.clear();
}

by("tab-drawings").addEventListener("click", () => choose("drawings"));
by("tab-photographs").addEventListener("click", () => choose("photographs"));
by("unstroke").addEventListener("click", () => sheet.unstroke());
by("clear").addEventListener("click", () => {
  photographs.stop();
  if (photographs.empty) photographs.clear();
  if (tab === "drawings" && photographs.empty) sheet.clear();
  photographs.clear();
});
by("choose").addEventListener("click", () => by("files").click());
by("use-camera").addEventListener("click", async () => {
  if (photographs.live) {
    photographs.stop();
    pictured();
  } else if (!(await photographs.start())) {
    by("photograph").click();
  }
});
for (const id of ["files", "photograph"]) {
  by(id).addEventListener("change", () => {
    photographs.take(by(id).files);
    by(id).value = "";
  });
}
by("teach").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(() => teach(by("name").value));
});
by("undo").addEventListener("click", undoLast);
by("language").addEventListener("click", () => {
  switchLanguage();
  photographs.show();
  if (state) update(state);
});
by("message").lastChild.addEventListener("click", () => tell(""));

addEventListener("paste", (event) => {
  if (photographs.take(event.clipboardData.files)) event.preventDefault();
});
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  photographs.take(event.dataTransfer.files);
});
addEventListener("keydown", (event) => {
  const writing = event.target.matches?.("input") || by("saving").open;
  if (writing || event.key.toLowerCase() !== "z" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  if (!(tab === "drawings" && photographs.empty && sheet.unstroke())) undoLast();
});

by("save").addEventListener("click", () => {
  by("saving-name").value = `${state.name.split(/[\\/]/).filter(Boolean).pop()}-classifier`;
  by("saved").replaceChildren();
  by("saving").showModal();
});
by("saving-close").addEventListener("click", () => by("saving").close());
by("saving-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  by("saving-go").disabled = true;
  by("saved").textContent = say("savingNow");
  try {
    const { path } = await save(by("saving-name").value);
    const command = Object.assign(document.createElement("code"), { textContent: `taper predict "${path}" picture.png` });
    by("saved").replaceChildren(say("savedTo"), command);
  } catch (error) {
    by("saved").textContent = sayProblem(problemOf(error));
  }
  by("saving-go").disabled = false;
});

chooseLanguage();
photographs.show();
follow(update, (isLost, error) => {
  by("lost").hidden = !isLost;
  by("lost").textContent = isLost ? say("lost") : "";
  if (!isLost && error) report(problemOf(error));
  // after a restart versions begin anew
  if (isLost && state) state.version = 0;
});
