// What the page says, in each language.

const ENGLISH = {
  language: "中文",
  languageName: "en",
  folder: "Pictures are kept in {name}",
  "folder-drawings": "Drawings are kept in {name}",
  "folder-photographs": "Photographs are kept in {name}",
  classifier: "Trying a finished classifier: {name}",
  kinds: "Kind of pictures",
  show: "Show something",
  draw: "Draw",
  photographs: "Photographs",
  sheet: "Drawing sheet",
  drawHere: "Draw here",
  sheetHelp: "With the keyboard: arrow keys move the pen, Space lowers and lifts it, Escape clears the sheet.",
  dropHere: "Drop or paste pictures here",
  unstroke: "Undo stroke",
  clear: "Clear",
  choose: "Open pictures",
  camera: "Camera",
  cameraOff: "Stop the camera",
  whatIsIt: "What is it?",
  namePlaceholder: "for example, heart",
  teach: "Teach",
  looksLike: "It looks like",
  step1: "Draw something, or show a picture.",
  step2: "Name it and press Teach.",
  step3: "From the second name on, every new picture is guessed here while you draw.",
  probabilities: "Probability of each class",
  similar: "Most similar examples",
  addTo: "Add this picture to {name}",
  add: "Add this",
  classes: "Classes",
  none: "No classes yet. Draw something and name it.",
  count: "{classes} classes, {examples} pictures",
  countOne: "1 class, {examples} pictures",
  reading: "Reading pictures: {read} of {examples}",
  className: "Name of the class",
  example: "{name}, picture {number}",
  removeExample: "Remove picture {number} of {name}",
  removeClass: "Remove the class {name}",
  remove: "Remove",
  empty: "No pictures yet",
  undo: "Undo",
  "undo-class-added": "Undo: new class {name}",
  "undo-example-added": "Undo: picture added to {name}",
  "undo-example-removed": "Undo: picture removed from {name}",
  "undo-class-renamed": "Undo: {name} renamed",
  "undo-class-removed": "Undo: {name} removed",
  save: "Save as a classifier",
  saveHelp: "A classifier is a folder that names the class of new pictures, also without this page.",
  saveName: "Name of the folder",
  saveGo: "Save",
  close: "Close",
  savingNow: "Saving…",
  savedTo: "Saved. To use it in a terminal:",
  drawingsOnly: "This folder holds drawings. For photographs, start Taper with another folder.",
  photographsOnly: "This folder holds photographs. For drawings, start Taper with another folder.",
  weights: "Photographs need a pretrained network, which is not on this computer yet. Run this once, then start Taper again:",
  lost: "Taper is not running. Your pictures are safe: start it again, and this page goes on by itself.",
  adding: "Adding {done} of {total}",
  more: "and {count} more",
  unusable: "Can't be learned from",
  problem: {
    "bad-name": "This name can't be used. Use letters or digits.",
    "name-taken": "There is already something called “{name}”.",
    gone: "It was removed or renamed in the meantime.",
    "nothing-to-undo": "There is nothing to undo.",
    "too-many-classes": "There are {most} classes, which is the most.",
    "too-many-examples": "There are {most} pictures, which is the most.",
    "too-large": "The file is larger than {megabytes} MB.",
    "not-a-picture": "This is not a picture that can be read: {detail}",
    blank: "There is nothing on it yet.",
    "not-a-drawing": "This is not a line drawing. Photographs need a folder of their own.",
    "other-kind": "Drawings and photographs can't share a folder.",
    "unusable-examples": "{count} pictures can't be learned from. Remove them first.",
    "too-few-classes": "Teach at least two classes first.",
    "no-weights": "The network for photographs is not on this computer.",
    "finished-model": "Nothing can be added to a finished classifier.",
    "full-disk": "The disk is full, so this was not saved. Nothing else is lost: free some space and try again.",
    disk: "The folder can't be written: {detail}",
    busy: "Too much at once. Try again in a moment.",
    lost: "Taper is not running. Start it again.",
    camera: "The camera can't be used: {detail}",
    other: "{detail}",
  },
};

const CHINESE = {
  language: "English",
  languageName: "zh",
  folder: "图片保存在 {name}",
  "folder-drawings": "手绘图保存在 {name}",
  "folder-photographs": "照片保存在 {name}",
  classifier: "正在试用已完成的分类器：{name}",
  kinds: "图片种类",
  show: "展示",
  draw: "画画",
  photographs: "照片",
  sheet: "画板",
  drawHere: "在这里画",
  sheetHelp: "用键盘：方向键移动画笔，空格键落笔或抬笔，Esc 键清空画板。",
  dropHere: "把图片拖到或粘贴到这里",
  unstroke: "撤销一笔",
  clear: "清空",
  choose: "打开图片",
  camera: "摄像头",
  cameraOff: "关闭摄像头",
  whatIsIt: "这是什么？",
  namePlaceholder: "例如：心形",
  teach: "教它",
  looksLike: "看起来像",
  step1: "画点什么，或展示一张图片。",
  step2: "写上名称，按“教它”。",
  step3: "从第二个名称开始，您一边画，这里一边猜。",
  probabilities: "各类别的概率",
  similar: "最相似的例子",
  addTo: "加入此图到“{name}”",
  add: "加入此图",
  classes: "类别",
  none: "还没有类别。画点什么并写上名称吧。",
  count: "{classes} 个类别，{examples} 张图片",
  countOne: "1 个类别，{examples} 张图片",
  reading: "正在读取图片：{read} / {examples}",
  className: "类别名称",
  example: "{name}，第 {number} 张",
  removeExample: "移除“{name}”的第 {number} 张图片",
  removeClass: "移除类别“{name}”",
  remove: "移除",
  empty: "还没有图片",
  undo: "撤销",
  "undo-class-added": "撤销：新类别“{name}”",
  "undo-example-added": "撤销：加入“{name}”的图片",
  "undo-example-removed": "撤销：从“{name}”移除的图片",
  "undo-class-renamed": "撤销：“{name}”改名",
  "undo-class-removed": "撤销：移除“{name}”",
  save: "保存为分类器",
  saveHelp: "分类器是一个文件夹，不用此页面也能给新图片分类。",
  saveName: "文件夹名称",
  saveGo: "保存",
  close: "关闭",
  savingNow: "正在保存……",
  savedTo: "已保存。在终端中使用：",
  drawingsOnly: "此文件夹存放的是手绘图。若要用照片，请用另一个文件夹启动 Taper。",
  photographsOnly: "此文件夹存放的是照片。若要画画，请用另一个文件夹启动 Taper。",
  weights: "照片需要预训练网络，而这台电脑上还没有。请运行一次下面的命令，然后重新启动 Taper：",
  lost: "Taper 没有在运行。您的图片是安全的：重新启动它，此页面会自动继续。",
  adding: "正在加入 {done} / {total}",
  more: "另有 {count} 张",
  unusable: "无法用于学习",
  problem: {
    "bad-name": "不能用这个名称。请使用文字或数字。",
    "name-taken": "已经有叫“{name}”的了。",
    gone: "它刚刚被移除或改名了。",
    "nothing-to-undo": "没有可以撤销的操作。",
    "too-many-classes": "已有 {most} 个类别，达到上限。",
    "too-many-examples": "已有 {most} 张图片，达到上限。",
    "too-large": "文件大于 {megabytes} MB。",
    "not-a-picture": "无法读取这张图片：{detail}",
    blank: "上面还什么都没有。",
    "not-a-drawing": "这不是线条画。照片需要单独的文件夹。",
    "other-kind": "手绘图和照片不能放在同一个文件夹里。",
    "unusable-examples": "有 {count} 张图片无法用于学习，请先移除。",
    "too-few-classes": "请先教至少两个类别。",
    "no-weights": "这台电脑上没有用于照片的网络。",
    "finished-model": "已完成的分类器不能再加入图片。",
    "full-disk": "磁盘已满，这次没有保存。其他内容没有丢失：请腾出空间后再试。",
    disk: "无法写入文件夹：{detail}",
    busy: "请求太多，请稍后再试。",
    lost: "Taper 没有在运行。请重新启动它。",
    camera: "无法使用摄像头：{detail}",
    other: "{detail}",
  },
};

const CHOICE = "taper-language";
let words = ENGLISH;

const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");

/** The text of this name, with values in its braces. */
export const say = (name, values = {}) => fill(words[name], values);

/** The text about a problem. */
export const sayProblem = (found) => fill(words.problem[found.problem] ?? words.problem.other, { detail: found.problem, ...found });

/** Chooses the language: the one chosen before, or the browser's. */
export function chooseLanguage() {
  const wanted = localStorage.getItem(CHOICE) ?? navigator.language;
  words = wanted.startsWith("zh") ? CHINESE : ENGLISH;
  translate();
}

/** Changes to the other language. */
export function switchLanguage() {
  words = words === ENGLISH ? CHINESE : ENGLISH;
  localStorage.setItem(CHOICE, words.languageName);
  translate();
}

function translate() {
  document.documentElement.lang = words.languageName === "zh" ? "zh-Hans" : "en";
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = say(element.dataset.t);
  for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label", say(element.dataset.label));
  const language = document.getElementById("language");
  language.textContent = words.language;
  language.lang = words === ENGLISH ? "zh-Hans" : "en";
  document.getElementById("name").placeholder = words.namePlaceholder;
}

/** A share in percent. */
export const percent = (share) => `${Math.round(share * 100)}%`;
