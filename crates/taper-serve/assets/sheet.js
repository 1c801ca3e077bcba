// The drawing sheet: strokes by mouse, pen, finger or keyboard, black on white.

const PEN = 13;
const STEP = 14;

export class Sheet {
  /** `changed` is called after every change, with whether a stroke has ended. */
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.changed = changed;
    this.strokes = [];
    this.drawing = null;
    this.pen = { x: canvas.width / 2, y: canvas.height / 2, shown: false, down: false };
    canvas.addEventListener("pointerdown", (event) => this.start(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.end(event));
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("focus", () => this.showPen(this.drawing === null));
    canvas.addEventListener("blur", () => this.showPen(false));
    this.paint();
  }

  get empty() {
    return this.strokes.length === 0;
  }

  clear() {
    if (this.empty) return;
    this.strokes = [];
    this.pen.down = false;
    this.paint();
    this.changed(true);
  }

  /** Takes the last stroke back; whether there was one. */
  unstroke() {
    const stroke = this.strokes.pop();
    this.pen.down = false;
    this.paint();
    if (stroke) this.changed(true);
    return Boolean(stroke);
  }

  /** The drawing as a PNG. */
  png() {
    const out = document.createElement("canvas");
    out.width = this.canvas.width;
    out.height = this.canvas.height;
    draw(out.getContext("2d"), this.strokes);
    return new Promise((done) => out.toBlob(done, "image/png"));
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const scale = this.canvas.width / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  }

  start(event) {
    if (this.drawing !== null || event.button > 0) return;
    this.drawing = event.pointerId;
    this.canvas.setPointerCapture(event.pointerId);
    this.showPen(false);
    this.strokes.push([this.at(event)]);
    this.paint();
    this.changed(false);
    event.preventDefault();
    this.canvas.focus({ preventScroll: true });
  }

  move(event) {
    if (event.pointerId !== this.drawing) return;
    const passed = event.getCoalescedEvents?.() ?? [];
    for (const point of passed.length ? passed : [event]) this.strokes.at(-1).push(this.at(point));
    this.paint();
    this.changed(false);
  }

  end(event) {
    if (event.pointerId !== this.drawing) return;
    this.drawing = null;
    this.changed(true);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const directions = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const direction = directions[event.key];
    const { pen, canvas } = this;
    if (direction) {
      const inside = (value, most) => Math.min(Math.max(value, PEN), most - PEN);
      pen.x = inside(pen.x + STEP * direction[0], canvas.width);
      pen.y = inside(pen.y + STEP * direction[1], canvas.height);
      this.showPen(true);
      if (pen.down) this.strokes.at(-1).push([pen.x, pen.y]);
      this.paint();
      if (pen.down) this.changed(false);
    } else if (event.key === " ") {
      this.showPen(true);
      pen.down = !pen.down;
      if (pen.down) this.strokes.push([[pen.x, pen.y]]);
      this.paint();
      this.changed(!pen.down);
    } else if (event.key === "Escape") {
      this.clear();
    } else {
      return;
    }
    event.preventDefault();
  }

  /** Shows the keyboard's pen, and how it is used. */
  showPen(shown) {
    this.pen.shown = shown;
    document.body.classList.toggle("pen", shown);
    if (!shown) this.pen.down = false;
    this.paint();
  }

  paint() {
    draw(this.context, this.strokes);
    if (!this.pen.shown) return;
    const { context, pen } = this;
    context.beginPath();
    context.arc(pen.x, pen.y, PEN, 0, 2 * Math.PI);
    context.lineWidth = 3;
    context.strokeStyle = pen.down ? "#c02a2a" : "#2f5bea";
    context.stroke();
  }
}

/** Strokes as smooth lines. */
function draw(context, strokes) {
  const { width, height } = context.canvas;
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.strokeStyle = "#000";
  context.lineWidth = PEN;
  context.lineCap = "round";
  context.lineJoin = "round";
  for (const points of strokes) {
    context.beginPath();
    context.moveTo(...points[0]);
    for (let i = 1; i < points.length - 1; i += 1) {
      const [[x, y], [nextX, nextY]] = [points[i], points[i + 1]];
      context.quadraticCurveTo(x, y, (x + nextX) / 2, (y + nextY) / 2);
    }
    context.lineTo(...points.at(-1));
    context.stroke();
  }
}
