// Pictures from files, the clipboard or the camera.

import { say } from "./words.js";

/** The longer side of a photograph from the camera, in pixels. */
const SIDE = 640;
const SHOWN = 9;

export class Photographs {
  /** `changed` is called when there are other pictures; `failed` with a problem. */
  constructor(pictures, video, changed, failed) {
    Object.assign(this, { pictures, video, changed, failed, files: [], urls: [], stream: null });
  }

  get empty() {
    return this.files.length === 0 && !this.live;
  }

  get live() {
    return this.stream !== null;
  }

  /** Takes pictures from a list of files. */
  take(list) {
    const files = [...list].filter((file) => file.type.startsWith("image/") || /\.(heic|heif|qoi|p[bgpn]m)$/i.test(file.name));
    if (files.length === 0) return false;
    this.stop();
    this.files = files;
    this.show();
    this.changed();
    return true;
  }

  clear() {
    this.files = [];
    this.show();
    this.changed();
  }

  show() {
    this.urls.forEach((url) => URL.revokeObjectURL(url));
    this.urls = this.files.slice(0, SHOWN).map((file) => URL.createObjectURL(file));
    const images = this.urls.map((url, place) => {
      const image = document.createElement("img");
      image.src = url;
      image.alt = this.files[place].name;
      return image;
    });
    const more = this.files.length - images.length;
    if (more > 0) {
      const note = document.createElement("p");
      note.textContent = say("more", { count: more });
      images.push(note);
    }
    if (images.length === 0) {
      const note = document.createElement("p");
      note.className = "hint";
      note.textContent = say("dropHere");
      images.push(note);
    }
    this.pictures.replaceChildren(...images);
    this.pictures.classList.toggle("several", this.files.length > 1);
  }

  /** Starts the camera; `false` if the browser has none for this page. */
  async start() {
    if (!navigator.mediaDevices?.getUserMedia) return false;
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: 960 } });
    } catch (error) {
      this.failed({ problem: "camera", detail: error.message });
      return true;
    }
    this.files = [];
    this.show();
    this.video.srcObject = this.stream;
    await this.video.play();
    this.changed();
    return true;
  }

  stop() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = null;
    this.video.srcObject = null;
  }

  /** The pictures to add, or the camera's picture of this moment. */
  async blobs() {
    if (!this.live) return this.files;
    const { videoWidth, videoHeight } = this.video;
    const scale = Math.min(1, SIDE / Math.max(videoWidth, videoHeight, 1));
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(videoWidth * scale);
    canvas.height = Math.round(videoHeight * scale);
    if (canvas.width === 0) return [];
    canvas.getContext("2d").drawImage(this.video, 0, 0, canvas.width, canvas.height);
    return [await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92))];
  }
}
