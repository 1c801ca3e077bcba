// The guess: a request at a time, always for the newest picture, and the bars that show its answer.

import * as server from "./server.js";
import { percent, say } from "./words.js";

/** Bars in a fixed order up to so many classes; of more, the likeliest. */
const FIXED = 8;
const SAID_AFTER = 600;

const by = (id) => document.getElementById(id);

export class Guess {
  /** `picture` gives the kind and the picture to guess, or null; `add` adds it to a class; `failed` gets problems. */
  constructor(picture, add, failed) {
    Object.assign(this, { picture, add, failed, wanted: false, running: false, verdict: null, colors: new Map() });
  }

  /** Guesses the present picture, soon; pictures in between are left out. */
  async ask() {
    this.wanted = true;
    if (this.running) return;
    this.running = true;
    document.body.dataset.guessing = "yes";
    while (this.wanted) {
      this.wanted = false;
      const shown = await this.picture();
      if (!shown) {
        this.show(null);
        continue;
      }
      try {
        const verdict = await server.classify(shown.kind, shown.blob);
        this.show(verdict.classes.length > 0 ? verdict : null);
      } catch (error) {
        const problem = error.found?.problem;
        // a new line is not a drawing yet, and while the server is busy another picture follows
        if (problem === "blank" || problem === "busy") continue;
        this.show(null);
        this.failed(error);
      }
    }
    this.running = false;
    document.body.dataset.guessing = "no";
  }

  show(verdict) {
    this.verdict = verdict;
    by("steps").hidden = verdict !== null || this.ready;
    by("nearest").hidden = !verdict || verdict.nearest.length === 0;
    const likely = verdict?.classes ?? [];
    const order = likely.length > FIXED ? likely.slice(0, FIXED) : [...likely].sort((a, b) => a.name.localeCompare(b.name));
    this.headline(likely[0]);
    const bars = by("bars");
    while (bars.children.length > order.length) bars.lastChild.remove();
    order.forEach((one, place) => this.bar(bars.children[place] ?? bars.appendChild(this.newBar()), one, one === likely[0]));
    by("nearest").querySelector("ul").replaceChildren(...(verdict?.nearest ?? []).map((near) => this.near(near)));
    document.body.dataset.guess = likely[0]?.name ?? "";
  }

  /** The best guess in large letters, read aloud once it stands still. */
  headline(best) {
    const text = by("best");
    text.hidden = !best;
    clearTimeout(this.saying);
    text.setAttribute("aria-live", "off");
    text.replaceChildren();
    if (!best) return;
    const name = document.createElement("strong");
    name.textContent = best.name;
    const share = document.createElement("span");
    share.textContent = percent(best.probability);
    text.append(name, " ", share);
    this.saying = setTimeout(() => {
      text.setAttribute("aria-live", "polite");
      text.replaceChildren(...text.childNodes);
    }, SAID_AFTER);
  }

  newBar() {
    const item = document.createElement("li");
    item.innerHTML = `<button type="button"><span class="track"><span class="fill"></span></span><span class="what"></span><span class="share"></span><span class="plus" aria-hidden="true">+</span></button>`;
    item.firstChild.addEventListener("click", () => this.add(item.dataset.name));
    return item;
  }

  bar(item, { name, probability }, best) {
    item.dataset.name = name;
    item.classList.toggle("best", best);
    const button = item.firstChild;
    button.disabled = !this.editable;
    button.title = this.editable ? say("addTo", { name }) : "";
    item.querySelector(".what").textContent = name;
    item.querySelector(".share").textContent = percent(probability);
    const fill = item.querySelector(".fill");
    fill.style.width = `${probability * 100}%`;
    fill.style.setProperty("--color", this.colors.get(name) ?? "");
  }

  near({ id, class: name }) {
    const item = document.createElement("li");
    const image = document.createElement("img");
    image.src = server.thumbnail(id);
    image.alt = "";
    const label = document.createElement("span");
    label.textContent = name;
    item.append(image, label);
    return item;
  }
}
