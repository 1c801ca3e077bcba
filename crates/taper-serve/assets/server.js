// The server: every request of the page.

/** A request that can't be done: `problem` names why, as `words.js` knows it. */
export class Problem extends Error {
  constructor(found) {
    super(found.problem);
    this.found = found;
  }
}

async function send(method, path, body, type) {
  let response;
  try {
    response = await fetch(path, { method, body, headers: type ? { "Content-Type": type } : {} });
  } catch {
    throw new Problem({ problem: "lost" });
  }
  const text = await response.text();
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    answer = { problem: "other", detail: text || response.statusText };
  }
  if (!response.ok) throw new Problem(answer);
  return answer;
}

const words = (path, name) => send("POST", path, JSON.stringify({ name }), "application/json");
const picture = (path, blob) => send("POST", path, blob, blob.type.startsWith("image/") ? blob.type : "image/*");
const of = (kind) => (kind === "drawings" ? "drawing" : "photograph");

export const addClass = (name) => words("/api/classes", name);
export const renameClass = (id, name) => words(`/api/classes/${id}/rename`, name);
export const removeClass = (id) => send("POST", `/api/classes/${id}/remove`);
export const removeExample = (id) => send("POST", `/api/examples/${id}/remove`);
export const undo = () => send("POST", "/api/undo");
export const save = (name) => words("/api/save", name);
export const classify = (kind, blob) => picture(`/api/classify/${of(kind)}`, blob);
export const thumbnail = (id) => `/api/examples/${id}`;

/** Adds a picture; waits and tries again while the server has too much to do. */
export async function addExample(classId, kind, blob) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await picture(`/api/classes/${classId}/${kind}`, blob);
    } catch (error) {
      if (error.found?.problem !== "busy" || attempt === 20) throw error;
      await pause(500);
    }
  }
}

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/** Calls `show` with each new state, and `lost` with whether the server can't be reached. */
export async function follow(show, lost) {
  let version = null;
  for (;;) {
    try {
      const state = await send("GET", version === null ? "/api/state" : `/api/state?after=${version}`);
      lost(false);
      if (state.version !== version) show(state);
      version = state.version;
      await pause(100);
    } catch (error) {
      lost(error.found?.problem === "lost", error);
      version = null;
      await pause(1000);
    }
  }
}
