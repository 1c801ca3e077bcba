// `taper serve` in Chromium, as people use it: `node --test serve.test.js`. README.md beside this file tells how.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import axe from "axe-core";
import { chromium } from "playwright-core";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "../..");
const program = process.env.TAPER ?? join(root, "target/debug/taper");
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const photographs = join(root, "../shared/data/trashnet/train");
const weights = join(root, "../shared/data/weights/efficientnet-lite0-57934424.pth");
const pictures = join(here, "out");
const home = mkdtempSync(join(tmpdir(), "taper-serve-"));

let browser;
const servers = [];

before(async () => {
  mkdirSync(pictures, { recursive: true });
  const args = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"];
  browser = await chromium.launch({ executablePath, args });
});

after(async () => {
  servers.forEach((server) => server.kill("SIGKILL"));
  await browser?.close();
  rmSync(home, { recursive: true, force: true });
});

/** Starts the program; `link` is what it prints. */
async function serve(folder, ...options) {
  const child = spawn(program, ["serve", folder, ...options], { cwd: home, stdio: ["ignore", "pipe", "inherit"] });
  servers.push(child);
  const ended = new Promise((done) => child.once("exit", done));
  let text = "";
  const link = await new Promise((done, fail) => {
    child.stdout.on("data", (part) => {
      text += part;
      const found = text.match(/http:\S+/);
      if (found) done(found[0]);
    });
    child.once("exit", () => fail(new Error(`the program ended: ${text}`)));
  });
  return { link, child, ended, kill: (signal) => (child.kill(signal), ended) };
}

/** A page without errors of its own. */
async function open(link, options = {}) {
  const context = await browser.newContext({ locale: "en-US", viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.errors = [];
  page.on("pageerror", (error) => page.errors.push(String(error)));
  page.on("console", (message) => {
    // a server that was killed, or a picture that was refused, is told by the page itself
    const known = /Failed to load resource/.test(message.text());
    if (message.type() === "error" && !known) page.errors.push(message.text());
  });
  await page.goto(link);
  await page.waitForFunction(() => document.body.dataset.version);
  return page;
}

/** Points of a line through the corners given, a few pixels apart. */
function through(...corners) {
  const points = [corners[0]];
  for (const [x, y] of corners.slice(1)) {
    const [fromX, fromY] = points.at(-1);
    const steps = Math.max(2, Math.round(Math.hypot(x - fromX, y - fromY) / 0.04));
    for (let i = 1; i <= steps; i += 1) points.push([fromX + ((x - fromX) * i) / steps, fromY + ((y - fromY) * i) / steps]);
  }
  return points;
}

function arc(x, y, radius, from, to) {
  const steps = 24;
  const angle = (i) => from + ((to - from) * i) / steps;
  return Array.from({ length: steps + 1 }, (_, i) => [x + radius * Math.cos(angle(i)), y + radius * Math.sin(angle(i))]);
}

const turn = 2 * Math.PI;
const SYMBOLS = {
  house: [through([0.25, 0.8], [0.25, 0.45], [0.5, 0.2], [0.75, 0.45], [0.75, 0.8], [0.25, 0.8]), through([0.45, 0.8], [0.45, 0.6], [0.57, 0.6], [0.57, 0.8])],
  sun: [arc(0.5, 0.5, 0.16, 0, turn), ...[0, 1, 2, 3, 4, 5].map((ray) => through(...[0.24, 0.36].map((r) => [0.5 + r * Math.cos((ray * turn) / 6), 0.5 + r * Math.sin((ray * turn) / 6)])))],
  star: [through(...[0, 2, 4, 1, 3, 0].map((k) => [0.5 + 0.32 * Math.sin((k * turn) / 5), 0.5 - 0.32 * Math.cos((k * turn) / 5)]))],
  fish: [[...arc(0.45, 0.66, 0.3, -0.75 * Math.PI, -0.2 * Math.PI), ...through([0.69, 0.49], [0.82, 0.34]), ...through([0.82, 0.34], [0.82, 0.64], [0.69, 0.5])], arc(0.45, 0.3, 0.3, 0.2 * Math.PI, 0.75 * Math.PI)],
  smile: [arc(0.5, 0.5, 0.32, 0, turn), arc(0.5, 0.52, 0.18, 0.1 * Math.PI, 0.9 * Math.PI), through([0.4, 0.38], [0.4, 0.43]), through([0.6, 0.38], [0.6, 0.43])],
};

/** Draws a symbol with the mouse; `hand` makes it another person's. */
async function draw(page, name, hand = { scale: 1, slant: 0, x: 0, y: 0 }) {
  const box = await page.locator("#sheet").boundingBox();
  const place = ([x, y]) => {
    const [dx, dy] = [(x - 0.5) * hand.scale, (y - 0.5) * hand.scale];
    return [box.x + box.width * (0.5 + hand.x + dx + hand.slant * dy), box.y + box.height * (0.5 + hand.y + dy)];
  };
  for (const stroke of SYMBOLS[name]) {
    await page.mouse.move(...place(stroke[0]));
    await page.mouse.down();
    for (const point of stroke.slice(1)) await page.mouse.move(...place(point));
    await page.mouse.up();
  }
}

const OTHER = { scale: 0.8, slant: 0.15, x: 0.04, y: -0.03 };

async function teach(page, name) {
  const cards = await page.locator(".thumbs li").count();
  await page.fill("#name", name);
  await page.press("#name", "Enter");
  await page.waitForFunction((before) => document.querySelectorAll(".thumbs li").length > before, cards);
}

const guessed = (page, name) => page.waitForFunction((wanted) => document.body.dataset.guess === wanted, name, { timeout: 5000 });

async function check(page, where) {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const found = violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html).join("\n")}`);
  assert.deepEqual(found, [], `axe-core, ${where}`);
  const sideways = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(sideways <= 0, `${where}: ${sideways} pixels stick out`);
  assert.deepEqual(page.errors, [], where);
}

const shoot = (page, name, options = {}) => page.screenshot({ path: join(pictures, `serve-${name}.png`), ...options });

test("five symbols drawn with the mouse are known again, and the server may be killed in between", async () => {
  let server = await serve("symbols");
  const page = await open(server.link);
  await check(page, "empty");
  await shoot(page, "empty");
  for (const name of Object.keys(SYMBOLS)) {
    await draw(page, name);
    await teach(page, name);
  }
  const delays = [];
  for (const name of Object.keys(SYMBOLS)) {
    await draw(page, name, OTHER);
    await guessed(page, name);
    delays.push(await delay(page));
    if (name === "star") {
      await check(page, "a guess");
      await shoot(page, "guess");
    }
    await page.click("#clear");
    await guessed(page, "");
  }
  delays.sort((a, b) => a - b);
  console.log(`from the end of a stroke to its bars, 5 classes: ${delays.map(Math.round).join(", ")} ms`);

  await server.kill("SIGKILL");
  await page.waitForSelector("#lost:not([hidden])");
  await draw(page, "sun", OTHER);
  const port = new URL(server.link).port;
  server = await serve("symbols", "--port", port);
  await page.waitForSelector("#lost", { state: "hidden" });
  assert.equal(await page.locator(".card").count(), 5);
  await guessed(page, "sun");
  assert.deepEqual(page.errors, []);
  // one press on its bar adds the drawing to the class
  await page.click("#bars .best button");
  await page.waitForFunction(() => document.querySelectorAll(".thumbs li").length === 6);
  assert.deepEqual(readdirSync(join(home, "symbols/sun")).sort(), ["drawing-0001.png", "drawing-0002.png"]);
  await page.click("#undo");
  await page.waitForFunction(() => document.querySelectorAll(".thumbs li").length === 5);

  await page.click("#save");
  await check(page, "saving");
  await page.click("#saving-go");
  await page.waitForSelector("#saved code");
  const classifier = join(home, "symbols-classifier");
  assert.ok(existsSync(join(classifier, "model.safetensors")));
  const table = execFileSync(program, ["predict", classifier, join(home, "symbols/star/drawing-0001.png")], { encoding: "utf8" });
  assert.match(table, /star/);
  await page.context().close();
  assert.equal(await server.kill("SIGINT"), 0);
});

/** Milliseconds from the end of one more stroke to the bars that it changes. */
async function delay(page) {
  const box = await page.locator("#sheet").boundingBox();
  await page.evaluate(() => {
    window.drawn = new Promise((done) => {
      document.getElementById("sheet").addEventListener("pointerup", () => {
        const from = performance.now();
        const answer = new MutationObserver(() => {
          // an answer to an earlier picture may come in between
          if (document.body.dataset.guessing !== "no") return;
          answer.disconnect();
          requestAnimationFrame(() => done(performance.now() - from));
        });
        answer.observe(document.body, { attributes: true, attributeFilter: ["data-guessing"] });
      }, { once: true });
    });
  });
  await page.mouse.move(box.x + 0.5 * box.width, box.y + 0.5 * box.height);
  await page.mouse.down();
  await page.waitForTimeout(300);
  await page.mouse.up();
  return page.evaluate(() => window.drawn);
}

test("the first guess after a stroke comes within 100 ms with 20 classes of one drawing", async () => {
  const server = await serve("twenty");
  const page = await open(server.link);
  const names = Object.keys(SYMBOLS);
  for (let number = 0; number < 20; number += 1) {
    await draw(page, names[number % 5], { scale: 1 - 0.1 * Math.floor(number / 5), slant: 0.2 * Math.floor(number / 5), x: 0, y: 0 });
    await teach(page, `${names[number % 5]} ${number}`);
  }
  await draw(page, "fish", OTHER);
  const delays = [];
  for (let attempt = 0; attempt < 9; attempt += 1) delays.push(await delay(page));
  delays.sort((a, b) => a - b);
  console.log(`from the end of a stroke to its bars, 20 classes: ${delays.map(Math.round).join(", ")} ms`);
  // the machine may be busy with other things: the median of an idle one is far below
  assert.ok(delays[4] < (process.env.TAPER_BUSY ? 1000 : 100), `${delays}`);
  await shoot(page, "twenty");
  await page.context().close();
  await server.kill("SIGINT");
});

test("it works by keyboard alone", async () => {
  const server = await serve("keyboard");
  const page = await open(server.link);
  const press = async (key, times = 1) => {
    for (let i = 0; i < times; i += 1) await page.keyboard.press(key);
  };
  const tabTo = async (selector) => {
    for (let i = 0; i < 60; i += 1) {
      await press("Tab");
      if (await page.evaluate((wanted) => document.activeElement.matches(wanted), selector)) return;
    }
    assert.fail(`no way to ${selector}`);
  };
  const line = async (...moves) => {
    await tabTo("#sheet");
    await press(" ");
    for (const [key, times] of moves) await press(key, times);
    await press(" ");
  };
  await line(["ArrowRight", 8], ["ArrowDown", 8], ["ArrowLeft", 8], ["ArrowUp", 8]);
  await shoot(page, "keyboard");
  await tabTo("#name");
  await page.keyboard.type("square");
  await press("Enter");
  await page.waitForSelector(".thumbs li");
  await line(["ArrowUp", 12]);
  await tabTo("#name");
  await page.keyboard.type("line");
  await press("Enter");
  await page.waitForFunction(() => document.querySelectorAll(".thumbs li").length === 2);
  await line(["ArrowDown", 10]);
  await guessed(page, "line");
  await press("Escape");
  await tabTo(".thumbs button");
  await press("Enter");
  await page.waitForFunction(() => document.querySelectorAll(".thumbs li").length === 1);
  await press("Control+z");
  await page.waitForFunction(() => document.querySelectorAll(".thumbs li").length === 2);
  await tabTo(".class-name");
  await page.keyboard.press("Control+a");
  await page.keyboard.type("stroke");
  await press("Enter");
  await page.waitForSelector('[aria-label="Remove the class stroke"]');
  assert.deepEqual(readdirSync(join(home, "keyboard")).filter((name) => !name.startsWith(".")).sort(), ["square", "stroke"]);
  assert.deepEqual(page.errors, []);
  await page.context().close();
  await server.kill("SIGINT");
});

test("phone width, touch, dark and Chinese look right and have no violation", async () => {
  const server = await serve("phone");
  const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true, colorScheme: "dark", locale: "zh-CN" };
  const page = await open(server.link, phone);
  assert.equal(await page.textContent("#teach button"), "教它");
  for (const name of ["house", "star", "smile"]) {
    await draw(page, name);
    await teach(page, { house: "房子", star: "星星", smile: "笑脸" }[name]);
  }
  await draw(page, "star", OTHER);
  await guessed(page, "星星");
  await check(page, "phone, dark, Chinese");
  await shoot(page, "phone", { fullPage: true });
  // the other language, and both colors
  await page.click("#language");
  assert.equal(await page.textContent("#teach button"), "Teach");
  await page.emulateMedia({ colorScheme: "light" });
  await check(page, "phone, light, English");
  await page.context().close();
  const wide = await open(server.link, { colorScheme: "dark" });
  await draw(wide, "smile", OTHER);
  await guessed(wide, "笑脸");
  await check(wide, "wide, dark");
  await shoot(wide, "dark");
  await wide.context().close();
  await server.kill("SIGINT");
});

test("two tabs show the same, and names and pictures of others are only text", async () => {
  const server = await serve("tabs");
  const [one, other] = [await open(server.link), await open(server.link)];
  await draw(one, "house");
  await teach(one, "<img src=x onerror=alert(1)>");
  await other.waitForSelector(".thumbs li");
  assert.equal(await other.inputValue(".class-name"), "-img src=x onerror=alert(1)-");
  await other.fill(".class-name", "house & home");
  await other.press(".class-name", "Enter");
  await one.waitForFunction(() => document.querySelector(".class-name").value === "house & home");
  assert.deepEqual([...one.errors, ...other.errors], []);
  await one.context().close();
  await other.context().close();
  await server.kill("SIGINT");
});

test("photographs are dropped, taught and told apart", { skip: !existsSync(photographs) || !existsSync(weights) ? "no shared data" : false }, async () => {
  const server = await serve("photos", "--weights", weights);
  const page = await open(server.link, { permissions: ["camera"] });
  await page.click("#tab-photographs");
  await check(page, "photographs, empty");
  const files = (name) => readdirSync(join(photographs, name)).sort().map((file) => join(photographs, name, file));
  const drop = async (selector, paths) => {
    const contents = paths.map((path) => readFileSync(path).toString("base64"));
    const data = await page.evaluateHandle((all) => {
      const transfer = new DataTransfer();
      for (const content of all) {
        const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
        transfer.items.add(new File([bytes], "photo.jpg", { type: "image/jpeg" }));
      }
      return transfer;
    }, contents);
    await page.dispatchEvent(selector, "drop", { dataTransfer: data });
  };
  let count = 0;
  for (const name of ["cardboard", "glass", "metal"]) {
    await drop("#paper", files(name).slice(0, 8));
    await page.fill("#name", name);
    await page.press("#name", "Enter");
    count += 8;
    await page.waitForFunction((wanted) => document.querySelectorAll(".thumbs li").length === wanted, count, { timeout: 20000 });
  }
  let right = 0;
  for (const name of ["cardboard", "glass", "metal"]) {
    for (const file of files(name).slice(10, 20)) {
      await drop("#paper", [file]);
      await page.waitForFunction(() => document.body.dataset.guessing === "no" && document.body.dataset.guess !== "", null, { timeout: 20000 });
      right += Number((await page.evaluate(() => document.body.dataset.guess)) === name);
    }
  }
  console.log(`photographs: ${right} of 30 right`);
  assert.ok(right >= 20, `${right} of 30`);
  await check(page, "photographs");
  await shoot(page, "photographs");
  // a drawing has no place here, and the page says so
  assert.ok(await page.isDisabled("#tab-drawings"));
  // the camera's picture is guessed while it is shown, and taught
  await page.click("#use-camera");
  await page.waitForFunction(() => document.getElementById("camera").videoWidth > 0);
  await page.fill("#name", "screen");
  await page.press("#name", "Enter");
  await page.waitForFunction((wanted) => document.querySelectorAll(".thumbs li").length === wanted, count + 1, { timeout: 20000 });
  await page.click("#use-camera");
  assert.deepEqual(page.errors, []);
  await page.context().close();
  await server.kill("SIGINT");
});

test("without weights the page names the command that gets them", async () => {
  const server = await serve("none");
  const page = await open(server.link);
  await page.click("#tab-photographs");
  await page.waitForSelector("#weights code");
  assert.match(await page.textContent("#weights"), /fetch-weights/);
  await check(page, "without weights");
  await page.context().close();
  await server.kill("SIGINT");
});
