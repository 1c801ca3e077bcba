// The classes with their examples.

import * as server from "./server.js";
import { say, sayProblem } from "./words.js";

const HUES = 10;

/** Whether the cards are being replaced, which takes the keyboard away from them for a moment. */
let renewing = false;

/** The color of a class, by its place. */
export const color = (place) => `var(--class-${place % HUES})`;

/** An element with properties and children. */
function made(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/**
 * Shows the classes. `actions`: `rename(id, name)`, `removeClass(id)`, `removeExample(id)`, `add(name)` for the present
 * picture, and `drop(name, files)`.
 */
export function showCards(root, state, actions) {
  // what is being typed and where the keyboard is stays
  const focus = document.activeElement?.dataset.key;
  const typed = document.activeElement?.classList.contains("class-name") ? document.activeElement.value : null;
  const cards = state.classes.map((one, place) => card(one, place, state, actions));
  if (cards.length === 0) cards.push(made("p", { className: "quiet", textContent: say("none") }));
  renewing = true;
  root.replaceChildren(...cards);
  renewing = false;
  const again = focus && root.querySelector(`[data-key="${CSS.escape(focus)}"]`);
  if (again) {
    if (typed !== null) again.value = typed;
    again.focus({ preventScroll: true });
  }
}

function card({ id, name, examples }, place, state, actions) {
  const editable = state.mode === "folder";
  const title = made("input", { className: "class-name", value: name, maxLength: 60, spellcheck: false, readOnly: !editable });
  title.setAttribute("aria-label", say("className"));
  title.dataset.key = `name-${id}`;
  title.addEventListener("keydown", (event) => {
    if (event.key === "Enter") title.blur();
    if (event.key === "Escape") {
      title.value = name;
      title.blur();
    }
  });
  // not at `change`, which does not come for what was typed before the cards were made anew
  title.addEventListener("focusout", () => {
    if (renewing) return;
    if (title.value.trim() && title.value !== name) actions.rename(id, title.value);
    else title.value = name;
  });
  const article = made("article", { className: "card panel" });
  article.style.setProperty("--color", color(place));
  const head = made("div", { className: "card-head" }, title);
  if (editable) {
    head.append(made("span", { className: "quiet", textContent: examples.length }));
    head.append(button("×", say("removeClass", { name }), `class-${id}`, () => actions.removeClass(id)));
  }
  article.append(head);
  if (!editable) return article;
  const list = made("ul", { className: "thumbs" });
  examples.forEach((example, index) => list.append(thumb(name, example, index + 1, actions)));
  article.append(examples.length ? list : made("p", { className: "quiet", textContent: say("empty") }));
  const add = button(say("add"), say("addTo", { name }), `add-${id}`, () => actions.add(name));
  add.className = "add";
  article.append(add);
  const over = (event, on) => {
    event.preventDefault();
    event.stopPropagation();
    article.classList.toggle("over", on);
  };
  article.addEventListener("dragover", (event) => over(event, true));
  article.addEventListener("dragleave", (event) => over(event, false));
  article.addEventListener("drop", (event) => {
    over(event, false);
    actions.drop(name, event.dataTransfer.files);
  });
  return article;
}

function thumb(name, { id, ...example }, number, actions) {
  const image = made("img", { src: server.thumbnail(id), alt: say("example", { name, number }), loading: "lazy" });
  const item = made("li", {}, image);
  if (example.problem) {
    item.className = "unusable";
    item.title = `${say("unusable")}: ${sayProblem(example)}`;
  }
  item.append(button("×", say("removeExample", { name, number }), `example-${id}`, () => actions.removeExample(id)));
  return item;
}

function button(text, label, key, act) {
  const element = made("button", { type: "button", textContent: text, title: label });
  element.setAttribute("aria-label", label);
  element.dataset.key = key;
  element.addEventListener("click", act);
  return element;
}
