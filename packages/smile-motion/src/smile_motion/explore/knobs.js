"use strict";
// What pages with a player and knobs share: calls of the server, and the knobs of `knobs.py`.

const $ = (id) => document.getElementById(id);

async function call(path, body) {
  const sent = body === undefined ? {} : { method: "POST", body, headers: { "x-smile-motion": "page" } };
  let answer;
  try {
    answer = await fetch(path, sent);
  } catch {
    throw new Error("the explorer no longer answers; start it again");
  }
  if (!answer.ok) {
    const text = await answer.text();
    let said = text;
    try {
      said = JSON.parse(text).problem;
    } catch {
      // A refusal is plain text.
    }
    throw new Error(said || `the explorer answered ${answer.status}`);
  }
  return answer;
}

async function encode(pictures, format, rate) {
  const { width, height } = pictures[0];
  const words = new URLSearchParams({ format, width, height, frames: pictures.length, rate });
  return (await call(`api/encode?${words}`, new Blob(pictures.map((one) => one.data)))).blob();
}

function report(error) {
  $("problem").textContent = error ? error.message : "";
  $("problem").hidden = !error;
}

// Calls `work` after every change; while it is at work, only the last change counts.
class Latest {
  constructor(work, show) {
    Object.assign(this, { work, show, busy: false, again: false });
  }

  async ask() {
    this.again = true;
    if (this.busy) return;
    this.busy = true;
    this.show.setAttribute("aria-busy", "true");
    while (this.again) {
      this.again = false;
      try {
        await this.work(() => this.again);
        report(null);
      } catch (error) {
        report(error);
      }
    }
    this.busy = false;
    this.show.setAttribute("aria-busy", "false");
  }
}

class Knobs {
  // `page` has groups, limits and first values; `ask` is called when a value has changed.
  constructor(root, page, ask) {
    Object.assign(this, { root, page, ask, values: { ...page.first }, all: new Map() });
    const groups = page.groups.map((group) => {
      const part = make("details", { open: group.is_open }, make("summary", {}, group.title));
      part.append(...group.knobs.map((knob) => this.lay(knob)));
      return part;
    });
    const reset = make("button", { type: "button", id: "reset" }, "Reset all knobs");
    reset.addEventListener("click", () => {
      Object.assign(this.values, page.first, { seed: this.values.seed, upload: this.values.upload });
      this.changed(true);
    });
    root.replaceChildren(...groups, reset);
    root.addEventListener("submit", (event) => event.preventDefault());
    this.refresh();
  }

  refresh() {
    for (const knob of this.all.values()) knob.refresh();
  }

  changed(now = false) {
    this.refresh();
    clearTimeout(this.waiting);
    this.waiting = setTimeout(this.ask, now ? 0 : 150);
  }

  set(name, value, now) {
    this.values[name] = value;
    this.changed(now);
  }

  matters(knob) {
    const behind = this.values.upload ? (this.values.upload_still ? "frame" : "natural") : this.values.background;
    return knob.when.every(([field, wanted]) => {
      const value = field === "behind" ? behind : this.values[field];
      if (wanted.includes("*")) return Boolean(value);
      return Array.isArray(value) ? wanted.some((one) => value.includes(one)) : wanted.includes(String(value));
    });
  }

  lay(knob) {
    const id = `knob-${knob.name}`;
    const help = make("p", { class: "help", id: `${id}-help`, "aria-live": "polite" }, knob.says);
    const name = make(knob.kind === "several" ? "span" : "label", { class: "name", for: knob.kind === "several" ? null : id }, knob.label);
    const head = make("div", { class: "head" }, name);
    const block = make("div", { class: "knob", id: `block-${knob.name}` }, head);
    const described = { id, "aria-describedby": `${id}-help` };
    const parts = this.lay_input(knob, described, help);
    let paper = null;
    if (knob.paper !== null) {
      const value = Knobs.words(knob, knob.paper);
      const said = value === knob.source ? value : `${knob.source}: ${value}`;
      paper = make("button", { type: "button", class: "paper", title: `Set ${knob.label} to the ${knob.source === "paper" ? "paper's" : "published code's"} value` }, said);
      paper.addEventListener("click", () => parts.put(this.typed(knob, knob.paper)));
      head.append(paper);
    }
    if (parts.unit) head.append(make("span", { class: "unit" }, parts.unit));
    if (parts.head) head.append(parts.head);
    if (parts.below) block.append(parts.below);
    block.append(help);
    const refresh = () => {
      block.hidden = !this.matters(knob);
      parts.refresh(this.values[knob.name]);
      if (paper) paper.classList.toggle("same", String(this.values[knob.name]) === String(knob.paper));
    };
    this.all.set(knob.name, { refresh });
    return block;
  }

  static words(knob, value) {
    return (knob.choices.find((one) => one[0] === String(value)) || [, value])[1];
  }

  typed(knob, value) {
    return typeof this.page.first[knob.name] === "number" ? Number(value) : value;
  }

  lay_input(knob, described, help) {
    const { name } = knob;
    const put = (value) => this.set(name, value);
    switch (knob.kind) {
      case "choice": {
        const select = make("select", described, ...knob.choices.map(([value, label]) => make("option", { value }, label)));
        select.addEventListener("change", () => this.set(name, this.typed(knob, select.value), true));
        return { head: select, put, refresh: (value) => (select.value = String(value)) };
      }
      case "several": {
        const boxes = knob.choices.map(([value, label]) => {
          const box = make("input", { type: "checkbox", value });
          box.addEventListener("change", () => put(boxes.filter((one) => one.checked).map((one) => one.value)));
          return Object.assign(box, { words: label });
        });
        const chips = boxes.map((box) => make("label", { class: "chip" }, box, box.words));
        const below = make("div", { class: "chips", role: "group", "aria-label": knob.label }, ...chips);
        return { below, put, refresh: (value) => boxes.forEach((box) => (box.checked = value.includes(box.value))) };
      }
      case "switch": {
        const box = make("input", { type: "checkbox", ...described });
        box.addEventListener("change", () => put(box.checked));
        return { head: box, put, refresh: (value) => (box.checked = value) };
      }
      case "video":
        return this.lay_upload(knob, described, help);
      default:
        return this.lay_number(knob, described, help);
    }
  }

  lay_number(knob, described, help) {
    const { name } = knob;
    const [min, max] = this.page.limits[name];
    const step = knob.step;
    // What is out of range is bounded, and said.
    const put = (asked) => {
      const whole = step >= 1 ? Math.round(asked) : asked;
      const value = Math.min(Math.max(Number.isFinite(whole) ? whole : this.page.first[name], min), max);
      help.textContent = value === asked ? knob.says : `${knob.label} goes from ${min} to ${max}: set to ${value}.`;
      help.classList.toggle("wrong", value !== asked);
      this.set(name, value);
    };
    const field = make("input", { type: "number", inputmode: "decimal", min, max, step: step >= 1 ? 1 : "any", ...described });
    field.addEventListener("change", () => put(field.value === "" ? NaN : Number(field.value)));
    if (knob.kind === "seed") {
      const another = make("button", { type: "button", id: "another" }, "Another clip");
      another.addEventListener("click", () => this.set(name, (this.values[name] + 1) % max, true));
      const head = make("div", { class: "seed" }, field, another);
      return { head, put, refresh: (value) => (field.value = value) };
    }
    const slider = make("input", { type: "range", min, max, step, "aria-label": knob.label });
    slider.addEventListener("input", () => put(Number(slider.value)));
    const below = make("span", { class: "slide" }, slider);
    if (knob.paper !== null) {
      const at = make("span", { class: "at", "aria-hidden": "true" });
      at.style.setProperty("--at", (knob.paper - min) / (max - min));
      below.append(at);
    }
    const refresh = (value) => {
      if (document.activeElement !== field || Number(field.value) !== value) field.value = value;
      slider.value = value;
    };
    return { head: field, below, put, refresh, unit: knob.unit };
  }

  lay_upload(knob, described, help) {
    const field = make("input", { type: "file", accept: knob.choices.map((one) => one[0]).join(","), ...described });
    const clear = make("button", { type: "button", id: "clear-upload" }, "Remove");
    const say = (text, wrong) => {
      help.textContent = text;
      help.classList.toggle("wrong", Boolean(wrong));
    };
    clear.addEventListener("click", () => {
      field.value = "";
      say(knob.says);
      this.set(knob.name, "", true);
    });
    field.addEventListener("change", async () => {
      const [file] = field.files;
      if (!file) return;
      if (file.size > this.page.largest_upload) {
        say(`${file.name} has ${(file.size / 1e6).toFixed(0)} MB; at most ${(this.page.largest_upload / 1e6).toFixed(0)} MB are taken (--max-upload-mb).`, true);
        field.value = "";
        return;
      }
      say(`Sending ${file.name}…`);
      try {
        const { upload, name } = await (await call(`api/upload?${new URLSearchParams({ name: file.name })}`, file)).json();
        say(`${name} lies behind the objects.`);
        this.set(knob.name, upload, true);
      } catch (error) {
        say(error.message, true);
        field.value = "";
      }
    });
    return { head: clear, below: field, put: () => {}, refresh: (value) => (clear.hidden = !value) };
  }
}
