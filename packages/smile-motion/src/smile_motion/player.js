"use strict";
// Plays clips and draws their truth (documents of `player.py`). Values of others are set as text
// or drawn: no markup is ever made of them.

function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

// An icon of filled paths on a 16 x 16 grid.
function icon(path) {
  const space = "http://www.w3.org/2000/svg";
  const drawing = document.createElementNS(space, "svg");
  const shape = document.createElementNS(space, "path");
  drawing.setAttribute("viewBox", "0 0 16 16");
  drawing.setAttribute("aria-hidden", "true");
  shape.setAttribute("d", path);
  drawing.append(shape);
  return drawing;
}

function save(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

class Player {
  static all = [];
  static current = null;

  // Layers that are drawn from numbers; layers of pictures come with the documents.
  static DRAWN = [
    ["outlines", "Outlines", "whole silhouettes, parts that are hidden included", true],
    ["paths", "Paths", "the center of each object over the clip, thick where it has been", true],
    ["boxes", "Boxes", "the box of each object's part inside the frame, with its name", false],
    ["tracks", "Tracks", "points through time, white ones behind the objects; hollow where they are hidden", false],
  ];
  static VIEWS = [
    ["all", "Whole clip", "the clip as it is"],
    ["seen", "Student sees", "hidden tokens are gray: what an encoder is given"],
    ["hidden", "Mask hides", "what the decoder has to predict"],
  ];
  static ICONS = {
    play: "M4 2l10 6-10 6z",
    pause: "M3 2h4v12H3zM9 2h4v12H9z",
    back: "M3 2h3v12H3zM14 2v12L7 8z",
    on: "M10 2h3v12h-3zM2 2v12l7-6z",
  };
  static EXPORT_PX = 448;
  static STRIP = { frames: 8, side: 256, gap: 6 };

  constructor(root, options = {}) {
    this.root = root;
    this.options = options;
    this.documents = [];
    this.frame = 0;
    this.view = "all";
    this.on = new Set(options.layers || Player.DRAWN.filter((one) => one[3]).map((one) => one[0]));
    this.playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.rate = null;
    this.lay();
    Player.all.push(this);
    Player.current ||= this;
    new ResizeObserver(() => this.fit()).observe(this.stage);
    requestAnimationFrame((now) => this.tick(now));
  }

  get frames() {
    return Math.max(1, ...this.documents.map((one) => one.images.length));
  }

  lay() {
    const { root } = this;
    root.classList.add("player");
    root.addEventListener("pointerdown", () => (Player.current = this));
    root.addEventListener("focusin", () => (Player.current = this));
    const button = (name, label, text, act) => {
      const node = make("button", { type: "button", class: name, "aria-label": label, title: label }, text);
      node.addEventListener("click", act);
      return node;
    };
    this.stage = make("div", {
      class: "stage", tabindex: "0", role: "group",
      "aria-label": "Clip. Space plays and pauses, the arrow keys step.",
    });
    this.wait = make("p", { class: "wait", role: "status" }, this.options.waiting || "Opening the clip…");
    this.stage.append(this.wait);
    this.playButton = button("play", "Play", "", () => this.toggle());
    this.scrub = make("input", { type: "range", class: "scrub", min: "0", max: "0", value: "0", "aria-label": "Frame" });
    this.scrub.addEventListener("input", () => this.show(Number(this.scrub.value), true));
    this.counter = make("output", { class: "counter" });
    this.speed = make("select", { class: "speed", "aria-label": "Frames per second" });
    for (const rate of [2, 4, 8, 12, 24]) this.speed.append(make("option", { value: rate }, `${rate} fps`));
    this.speed.value = "8";
    this.speed.addEventListener("change", () => (this.rate = Number(this.speed.value)));
    const transport = make(
      "div", { class: "transport" },
      button("back", "Step back", icon(Player.ICONS.back), () => this.step(-1)),
      this.playButton,
      button("on", "Step on", icon(Player.ICONS.on), () => this.step(1)),
      this.scrub, this.counter, this.speed,
    );
    this.layers = make("fieldset", { class: "layers" }, make("legend", {}, "Drawn truth"));
    this.views = make("fieldset", { class: "views" }, make("legend", {}, "Tokens"));
    this.says = make("p", { class: "says", "aria-live": "polite" });
    this.exports = make("fieldset", { class: "exports" }, make("legend", {}, "Save what is shown"));
    const formats = [
      ["png", "Frame", "this frame as PNG"],
      ["strip", "Strip", "frames in a row, as WebP: a paper's figure"],
    ];
    if (this.options.encode) {
      formats.push(
        ["gif", "GIF", "the clip as GIF"], ["webp", "WebP", "the clip as animated WebP"], ["mp4", "mp4", "the clip as mp4"],
      );
    }
    for (const [format, label, says] of formats) {
      const node = button(`save-${format}`, `Save ${says}`, label, async () => {
        node.disabled = true;
        try {
          await this.export(format);
          this.say(`Saved: ${says}.`);
        } catch (error) {
          this.say(error.message, true);
        }
        node.disabled = false;
      });
      this.exports.append(node);
    }
    this.tables = make("div", { class: "tables" });
    this.tools = make("div", { class: "tools" }, this.views, this.layers, this.exports);
    root.append(make("div", { class: "screen" }, this.stage, transport), this.tools, this.says, this.tables);
    this.mark();
  }

  say(text, wrong = false) {
    this.says.textContent = text;
    this.says.classList.toggle("wrong", wrong);
  }

  // Show documents side by side, once all their pictures are decoded.
  async open(documents) {
    const turn = (this.turn = {});
    const loaded = await Promise.all(
      documents.map(async (one) => {
        const [images, ...pictures] = await Promise.all(
          [one.frames, ...one.pictures.map((layer) => layer.pictures)].map((addresses) =>
            Promise.all(addresses.map(Player.load))),
        );
        return { ...one, images, pictures: one.pictures.map((layer, i) => ({ ...layer, images: pictures[i] })) };
      }),
    );
    if (turn !== this.turn) return; // Others were asked for meanwhile.
    this.documents = loaded;
    this.wait.remove();
    this.panels = loaded.map((one) => {
      const canvas = make("canvas", { role: "img", "aria-label": one.title });
      if (this.options.onPoint) {
        canvas.addEventListener("click", (event) => {
          const area = canvas.getBoundingClientRect();
          this.options.onPoint(one, (event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height, this.frame);
        });
      }
      const words = make("figcaption", {}, make("b", {}, one.title), one.note ? make("span", {}, one.note) : null);
      return { canvas, figure: make("figure", {}, canvas, words) };
    });
    this.stage.replaceChildren(...this.panels.map((panel) => panel.figure));
    this.stage.classList.toggle("pair", loaded.length > 1);
    this.scrub.max = String(this.frames - 1);
    this.frame = Math.min(this.frame, this.frames - 1);
    if (this.rate === null) {
      const wanted = loaded[0].rate_hz;
      if (![...this.speed.options].some((one) => Number(one.value) === wanted)) {
        this.speed.append(make("option", { value: wanted }, `${wanted} fps`));
      }
      this.speed.value = String(wanted);
      this.rate = wanted;
    }
    this.lay_switches();
    this.lay_tables();
    this.fit();
    this.mark();
  }

  static load(address) {
    if (!address) return null;
    const image = new Image();
    image.src = address;
    return image.decode().then(() => image);
  }

  lay_switches() {
    const known = new Map();
    const has = (test) => this.documents.some(test);
    for (const [name, label, says] of Player.DRAWN) {
      if (has((one) => (name === "tracks" ? one.tracks.length : one.objects.length))) known.set(name, [label, says]);
    }
    for (const one of this.documents) for (const layer of one.pictures) known.set(layer.name, [layer.label, layer.says]);
    for (const [name, label, says] of this.options.offered || []) if (!known.has(name)) known.set(name, [label, says]);
    const switches = [...known].map(([name, [label, says]]) => {
      const box = make("input", { type: "checkbox", value: name });
      box.checked = this.on.has(name);
      box.addEventListener("change", () => {
        box.checked ? this.on.add(name) : this.on.delete(name);
        this.say(`${label}: ${says}.`);
        this.draw();
        if (this.options.onLayers) this.options.onLayers(this.on);
      });
      return make("label", { class: "chip", title: says }, box, label);
    });
    this.layers.replaceChildren(this.layers.firstChild, ...switches);
    this.layers.hidden = !switches.length;
    const masked = has((one) => one.tokens && one.tokens.hidden);
    const radios = Player.VIEWS.map(([name, label, says]) => {
      const radio = make("input", { type: "radio", name: `view-${Player.all.indexOf(this)}`, value: name });
      radio.checked = this.view === name;
      radio.addEventListener("change", () => {
        this.view = name;
        this.say(`${label}: ${says}.`);
        this.draw();
      });
      return make("label", { class: "chip", title: says }, radio, label);
    });
    this.views.replaceChildren(this.views.firstChild, ...radios);
    this.views.hidden = !masked;
  }

  lay_tables() {
    const parts = this.documents.map((one) => {
      const { columns, rows, sentence } = one.table;
      const block = make("div", { class: "numbers" });
      if (this.documents.length > 1 && (sentence || rows.length)) block.append(make("h3", {}, one.title));
      if (sentence) block.append(make("p", {}, sentence));
      if (rows.length) {
        const head = make("tr", {}, make("th", {}), ...columns.map((name) => make("th", { scope: "col" }, name)));
        const body = rows.map((row, number) => {
          const mark = make("td", { "aria-hidden": "true" }, "■");
          mark.style.color = Player.css(one.objects[number].color);
          return make("tr", {}, mark, ...row.map((cell) => make("td", {}, cell)));
        });
        block.append(make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Numbers of the objects" }, make("table", {}, head, ...body)));
      }
      return block;
    });
    this.tables.replaceChildren(...parts);
  }

  static css(color, alpha = 1) {
    return `rgb(${color.join(" ")} / ${alpha})`;
  }

  toggle(playing = !this.playing) {
    this.playing = playing;
    this.mark();
  }

  step(by) {
    this.show((this.frame + by + this.frames) % this.frames, true);
  }

  show(frame, pause = false) {
    this.frame = Math.min(Math.max(0, frame), this.frames - 1);
    if (pause) this.playing = false;
    this.mark();
    this.draw();
  }

  mark() {
    this.playButton.replaceChildren(icon(this.playing ? Player.ICONS.pause : Player.ICONS.play));
    const label = this.playing ? "Pause" : "Play";
    this.playButton.setAttribute("aria-label", label);
    this.playButton.title = `${label} (space)`;
    this.scrub.value = String(this.frame);
    this.counter.textContent = `${this.frame + 1} / ${this.frames}`;
  }

  tick(now) {
    requestAnimationFrame((next) => this.tick(next));
    if (!this.documents.length) return;
    this.last ??= now;
    const period = 1000 / (this.rate || 8);
    if (!this.playing) this.last = now;
    else if (now - this.last >= period) {
      this.last = Math.max(this.last + period, now - period);
      this.show((this.frame + 1) % this.frames);
    }
  }

  fit() {
    for (const [number, panel] of (this.panels || []).entries()) {
      const one = this.documents[number];
      const { canvas } = panel;
      canvas.style.aspectRatio = `${one.width} / ${one.height}`;
      const width = Math.round(Math.max(1, canvas.clientWidth) * Math.min(devicePixelRatio || 1, 2));
      const height = Math.round((width * one.height) / one.width);
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    }
    this.draw();
  }

  draw() {
    for (const [number, panel] of (this.panels || []).entries()) {
      this.paint(panel.canvas.getContext("2d"), this.documents[number], this.frame, panel.canvas.width);
    }
  }

  // Draw one frame of a document with all layers, `width` pixels wide, at the context's origin.
  paint(context, one, frame, width) {
    const t = Math.min(frame, one.images.length - 1);
    const scale = width / one.width;
    const height = one.height * scale;
    context.save();
    context.beginPath();
    context.rect(0, 0, width, height);
    context.clip();
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(one.images[t], 0, 0, width, height);
    for (const layer of one.pictures) {
      const image = this.on.has(layer.name) && layer.images[Math.floor(t / layer.every)];
      if (!image) continue;
      if (layer.name === "flow" || layer.name === "coverage") {
        context.fillStyle = "rgb(0 0 0 / .6)";
        context.fillRect(0, 0, width, height);
      }
      context.globalAlpha = layer.opacity;
      context.imageSmoothingEnabled = layer.smooth;
      context.drawImage(image, 0, 0, width, height);
      context.globalAlpha = 1;
    }
    if (one.tokens) this.paint_tokens(context, one.tokens, t, width, height);
    context.lineJoin = context.lineCap = "round";
    const pen = { context, scale, thin: Math.max(1, width / 420) };
    const at = ([x, y]) => [(x + 0.5) * scale, (y + 0.5) * scale];
    const many = one.objects.length > 16;
    for (const thing of one.objects) {
      if (this.on.has("paths")) {
        const points = thing.center.map(at);
        Player.line(pen, points, thing.color, many ? 0.6 : 1.2, 0.7);
        Player.line(pen, points.slice(0, t + 1), thing.color, many ? 1 : 2.6);
        if (!many) Player.dot(pen, points[t], thing.color, 4, true);
      }
      if (this.on.has("outlines")) {
        const [a, b, e, c, d, f] = thing.maps[t];
        // An animated object has outlines pose by pose.
        for (const ring of thing.poses ? thing.poses[thing.pose[t]] : thing.rings) {
          const points = [];
          for (let i = 0; i < ring.length; i += 2) {
            points.push(at([a * ring[i] + b * ring[i + 1] + e, c * ring[i] + d * ring[i + 1] + f]));
          }
          Player.line(pen, points, thing.color, many ? 1 : 2, 1, true);
        }
      }
    }
    if (this.on.has("boxes")) {
      for (const thing of one.objects) {
        const box = thing.boxes[t];
        if (!box) continue;
        const [x0, y0, x1, y1] = [at(box.slice(0, 2)), at(box.slice(2))].flat();
        Player.line(pen, [[x0, y0], [x1, y0], [x1, y1], [x0, y1]], thing.color, 1.4, 1, true);
        if (!many) Player.name(pen, thing, x0, y0, width);
      }
    }
    if (this.on.has("tracks")) {
      for (const track of one.tracks) {
        const { color } = track;
        const points = track.points.map(at);
        Player.line(pen, points.slice(Math.max(0, t - 5), t + 1), color, 1.6, 0.9);
        Player.dot(pen, points[t], color, 3.2, track.seen[t] === "1");
      }
    }
    context.restore();
  }

  paint_tokens(context, tokens, t, width, height) {
    const { rows, columns, hidden } = tokens;
    const [w, h] = [width / columns, height / rows];
    if (this.view !== "all" && hidden) {
      const gray = this.view === "seen" ? "1" : "0";
      const flags = hidden[Math.floor(t / tokens.tubelet)];
      context.fillStyle = "rgb(112 116 124)";
      for (let i = 0; i < flags.length; i++) {
        if (flags[i] !== gray) continue;
        const [x, y] = [(i % columns) * w, Math.floor(i / columns) * h];
        context.fillRect(Math.floor(x), Math.floor(y), Math.ceil(x + w) - Math.floor(x), Math.ceil(y + h) - Math.floor(y));
      }
    }
    if (this.view !== "all" || this.on.has("coverage")) {
      context.strokeStyle = "rgb(255 255 255 / .18)";
      context.lineWidth = Math.max(0.5, width / 900);
      context.beginPath();
      for (let i = 1; i < columns; i++) context.rect(i * w, 0, 0, height);
      for (let i = 1; i < rows; i++) context.rect(0, i * h, width, 0);
      context.stroke();
    }
  }

  // Lines have a dark edge, so that they are seen on every ground.
  static line({ context, thin }, points, color, weight, alpha = 1, closed = false) {
    if (!points.length) return;
    context.beginPath();
    points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
    if (closed) context.closePath();
    context.lineWidth = (weight + 1.4) * thin;
    context.strokeStyle = `rgb(0 0 0 / ${0.45 * alpha})`;
    context.stroke();
    context.lineWidth = weight * thin;
    context.strokeStyle = Player.css(color, alpha);
    context.stroke();
  }

  static dot({ context, thin }, [x, y], color, radius, filled) {
    context.beginPath();
    context.arc(x, y, radius * thin, 0, 2 * Math.PI);
    context.lineWidth = 1.4 * thin;
    context.strokeStyle = filled ? "rgb(0 0 0 / .55)" : Player.css(color);
    context.fillStyle = filled ? Player.css(color) : "rgb(0 0 0 / .35)";
    context.fill();
    context.stroke();
  }

  static name({ context, thin }, thing, x, y, width) {
    const size = Math.max(10, 11 * thin);
    context.font = `600 ${size}px system-ui, sans-serif`;
    const text = thing.name.length > 28 ? `${thing.name.slice(0, 27)}…` : thing.name;
    const long = context.measureText(text).width + size * 0.8;
    const [left, top] = [Math.min(Math.max(0, x), width - long), Math.max(0, y - size * 1.45)];
    context.fillStyle = Player.css(thing.color);
    context.fillRect(left, top, long, size * 1.45);
    context.fillStyle = "#111";
    context.textBaseline = "middle";
    context.fillText(text, left + size * 0.4, top + size * 0.75);
  }

  // One picture of all documents beside each other (or below each other), at a frame.
  compose(frames, side, gap, stacked) {
    const sizes = this.documents.map((one) => ({ width: Math.round((side * one.width) / Math.max(one.width, one.height)), height: Math.round((side * one.height) / Math.max(one.width, one.height)) }));
    const cells = frames.flatMap((frame, i) => sizes.map((size, j) => ({
      frame, j, ...size,
      x: (stacked ? i : j) * (size.width + gap),
      y: (stacked ? j : 0) * (size.height + gap),
    })));
    const canvas = make("canvas", {
      width: Math.max(...cells.map((cell) => cell.x + cell.width)),
      height: Math.max(...cells.map((cell) => cell.y + cell.height)),
    });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    for (const cell of cells) {
      context.save();
      context.translate(cell.x, cell.y);
      this.paint(context, this.documents[cell.j], cell.frame, cell.width);
      context.restore();
    }
    return canvas;
  }

  async export(format) {
    if (!this.documents.length) return;
    const blob_of = (canvas, kind) => new Promise((done) => canvas.toBlob(done, kind, 0.95));
    if (format === "png") {
      save(await blob_of(this.compose([this.frame], Player.EXPORT_PX * 2, 8), "image/png"), `frame-${this.frame + 1}.png`);
    } else if (format === "strip") {
      const { frames, side, gap } = Player.STRIP;
      const count = Math.min(frames, this.frames);
      const chosen = [...Array(count).keys()].map((i) => Math.round((i * (this.frames - 1)) / Math.max(1, count - 1)));
      const blob = await blob_of(this.compose(chosen, side, gap, true), "image/webp");
      save(blob, blob.type === "image/webp" ? "strip.webp" : "strip.png");
    } else {
      const pictures = [...Array(this.frames).keys()].map((frame) => {
        const canvas = this.compose([frame], Player.EXPORT_PX, 8);
        return canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      });
      save(await this.options.encode(pictures, format, this.rate), `clip.${format}`);
    }
  }
}

document.addEventListener("keydown", (event) => {
  const player = Player.current;
  const where = event.target;
  if (!player || event.ctrlKey || event.metaKey || event.altKey) return;
  // Elsewhere on the page, keys are for what has the focus.
  if (where !== document.body && !where.closest(".screen")) return;
  if (where.matches("input, select") || (event.key === " " && where.matches("button"))) return;
  const acts = {
    " ": () => player.toggle(), k: () => player.toggle(),
    ArrowLeft: () => player.step(-1), ArrowRight: () => player.step(1),
    Home: () => player.show(0, true), End: () => player.show(player.frames - 1, true),
  };
  if (acts[event.key]) {
    event.preventDefault();
    acts[event.key]();
  }
});

// Written pages hold each clip as JSON in a text that is not shown.
for (const data of document.querySelectorAll("pre.clip")) {
  const root = make("div", {});
  data.replaceWith(root);
  new Player(root).open([JSON.parse(data.textContent)]);
}
