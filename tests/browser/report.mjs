// Opens reports in Chromium as people will see them: wide, on a phone, dark, printed, with the keyboard, and with axe-core.
//
//   node report.mjs RUN/report.html ... [--shots FOLDER]
//
// Exits with 1 and one line per problem if something is wrong.
import { chromium } from "playwright-core";
import { createRequire } from "node:module";
import { statSync, mkdirSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const MOST_BYTES = 3_000_000;

const args = process.argv.slice(2);
const at = args.indexOf("--shots");
const shots = at < 0 ? null : resolve(args.splice(at, 2)[1]);
if (args.length === 0) {
  console.error("error: no report given: node report.mjs RUN/report.html");
  process.exit(2);
}
if (shots) mkdirSync(shots, { recursive: true });

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox"],
});
const problems = [];

for (const file of args) {
  const name = basename(dirname(resolve(file)));
  const check = (right, problem) => right || problems.push(`${name}: ${problem}`);
  const bytes = statSync(file).size;
  check(bytes <= MOST_BYTES, `${bytes} bytes are more than ${MOST_BYTES}`);

  const views = [
    { kind: "wide", width: 1200, height: 900, colorScheme: "light" },
    { kind: "dark", width: 1200, height: 900, colorScheme: "dark" },
    { kind: "phone", width: 360, height: 740, colorScheme: "light" },
    { kind: "phone-dark", width: 360, height: 740, colorScheme: "dark" },
  ];
  for (const { kind, width, height, colorScheme } of views) {
    // the page forbids scripts by its policy; axe-core is the check's own
    const context = await browser.newContext({ viewport: { width, height }, colorScheme, bypassCSP: true });
    const page = await context.newPage();
    page.on("request", (request) => check(/^(file|data):/.test(request.url()), `asks for ${request.url()}`));
    page.on("console", (message) => message.type() === "error" && problems.push(`${name}: ${message.text()}`));
    await page.goto(pathToFileURL(resolve(file)).href);
    const scroll = await page.evaluate(() => document.documentElement.scrollWidth);
    check(scroll <= width, `${kind}: the page is ${scroll} px wide in a window of ${width}`);
    await page.addScriptTag({ path: axe });
    const { violations } = await page.evaluate(() => axe.run());
    for (const { id, nodes } of violations) {
      problems.push(`${name}: ${kind}: axe-core: ${id}: ${nodes.map((node) => node.target).slice(0, 3).join(" | ")}`);
    }
    const broken = await page.evaluate(() => [...document.images].filter((image) => image.naturalWidth === 0).length);
    check(broken === 0, `${kind}: ${broken} pictures are not shown`);
    if (shots) await page.screenshot({ path: `${shots}/${name}-${kind}.png`, fullPage: true });
    await context.close();
  }

  const context = await browser.newContext({ viewport: { width: 1000, height: 800 } });
  const page = await context.newPage();
  await page.goto(pathToFileURL(resolve(file)).href);
  // the first Tab reaches the link over everything, and every table that scrolls and every summary can be reached
  await page.keyboard.press("Tab");
  check(await page.evaluate(() => document.activeElement.className === "skip"), "the first Tab misses the skip link");
  const wanted = await page.locator("summary:visible, .scroll:visible, nav a, pre:visible").count();
  const reached = new Set();
  for (let presses = 0; presses < wanted + 20; presses++) {
    await page.keyboard.press("Tab");
    const place = await page.evaluate(() => {
      const all = [...document.querySelectorAll("summary, .scroll, nav a, pre")];
      return all.indexOf(document.activeElement);
    });
    if (place >= 0) reached.add(place);
  }
  check(reached.size >= wanted, `the keyboard reaches ${reached.size} of ${wanted} places`);
  const summary = page.locator("summary").first();
  if (await summary.count()) {
    const was = await summary.evaluate((one) => one.parentElement.open);
    await summary.focus();
    await page.keyboard.press("Enter");
    check((await summary.evaluate((one) => one.parentElement.open)) !== was, "Enter does not open a table");
  }
  await page.emulateMedia({ media: "print" });
  const pdf = await page.pdf({ format: "A4", path: shots ? `${shots}/${name}.pdf` : undefined });
  check(pdf.length > 10_000, "printing gives an empty document");
  await context.close();
}
await browser.close();
problems.forEach((problem) => console.error(problem));
console.log(`${args.length} report(s), ${problems.length} problem(s)`);
process.exit(problems.length ? 1 : 0);
