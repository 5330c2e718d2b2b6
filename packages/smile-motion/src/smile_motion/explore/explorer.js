"use strict";
// The explorer's page: knobs, the clip that they make, and the bank. Uses `player.js`.

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

const player = new Player($("player"), {
  encode,
  waiting: "Making the first clip… The first one on a machine takes up to a minute, since its code is compiled.",
  offered: [["flow", "Flow", "where each point goes by the next frame"]],
  onLayers: (on) => on.has("flow") && !shown_flow && ask(),
});

player.tools.append($("copies"));

let page, values;
let busy = false, again = false, shown_flow = false;

function report(error) {
  $("problem").textContent = error ? error.message : "";
  $("problem").hidden = !error;
}

const asked = () => ({ ...values, compare: values.compare || null });

// Ask for the clip of the knobs; while one is made, only the last change counts.
async function ask() {
  if (busy) {
    again = true;
    return;
  }
  busy = true;
  $("show").setAttribute("aria-busy", "true");
  do {
    again = false;
    const flow = player.on.has("flow");
    try {
      const answer = await (await call("api/clip", JSON.stringify({ controls: asked(), flow }))).json();
      if (again) continue;
      await player.open(answer.clips);
      shown_flow = flow;
      $("command").textContent = answer.copies.command;
      $("python").textContent = answer.copies.python;
      $("beside").textContent = answer.copies.beside || "";
      $("beside").hidden = !answer.copies.beside;
      report(null);
    } catch (error) {
      report(error);
    }
  } while (again);
  busy = false;
  $("show").setAttribute("aria-busy", "false");
}

let waiting;
function changed(now = false) {
  for (const knob of knobs.values()) knob.refresh();
  clearTimeout(waiting);
  waiting = setTimeout(ask, now ? 0 : 150);
}

const knobs = new Map();

function set(name, value, now) {
  values[name] = value;
  changed(now);
}

function matters(knob) {
  const behind = values.upload ? (values.upload_still ? "frame" : "natural") : values.background;
  return knob.when.every(([field, wanted]) => {
    const value = field === "behind" ? behind : values[field];
    if (wanted.includes("*")) return Boolean(value);
    return Array.isArray(value) ? wanted.some((one) => value.includes(one)) : wanted.includes(String(value));
  });
}

function lay_knob(knob) {
  const id = `knob-${knob.name}`;
  const help = make("p", { class: "help", id: `${id}-help`, "aria-live": "polite" }, knob.says);
  const name = make(knob.kind === "several" ? "span" : "label", { class: "name", for: knob.kind === "several" ? null : id }, knob.label);
  const head = make("div", { class: "head" }, name);
  const block = make("div", { class: "knob", id: `block-${knob.name}` }, head);
  const described = { id, "aria-describedby": `${id}-help` };
  const parts = lay_input(knob, described, help);
  let paper = null;
  if (knob.paper !== null) {
    const value = shown(knob, knob.paper);
    const said = value === knob.source ? value : `${knob.source}: ${value}`;
    paper = make("button", { type: "button", class: "paper", title: `Set ${knob.label} to the ${knob.source === "paper" ? "paper's" : "published code's"} value` }, said);
    paper.addEventListener("click", () => parts.put(typed(knob, knob.paper)));
    head.append(paper);
  }
  if (parts.unit) head.append(make("span", { class: "unit" }, parts.unit));
  if (parts.head) head.append(parts.head);
  if (parts.below) block.append(parts.below);
  block.append(help);
  const refresh = () => {
    block.hidden = !matters(knob);
    parts.refresh(values[knob.name]);
    if (paper) paper.classList.toggle("same", String(values[knob.name]) === String(knob.paper));
  };
  knobs.set(knob.name, { refresh });
  return block;
}

const shown = (knob, value) => (knob.choices.find((one) => one[0] === String(value)) || [, value])[1];
const typed = (knob, value) => (typeof page.first[knob.name] === "number" ? Number(value) : value);

function lay_input(knob, described, help) {
  const { name } = knob;
  const put = (value) => set(name, value);
  switch (knob.kind) {
    case "choice": {
      const select = make("select", described, ...knob.choices.map(([value, label]) => make("option", { value }, label)));
      select.addEventListener("change", () => set(name, typed(knob, select.value), true));
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
      return lay_upload(knob, described, help);
    default:
      return lay_number(knob, described, help);
  }
}

function lay_number(knob, described, help) {
  const { name } = knob;
  const [min, max] = page.limits[name];
  const step = knob.step;
  // What is out of range is bounded, and said.
  const put = (asked) => {
    const whole = step >= 1 ? Math.round(asked) : asked;
    const value = Math.min(Math.max(Number.isFinite(whole) ? whole : page.first[name], min), max);
    help.textContent = value === asked ? knob.says : `${knob.label} goes from ${min} to ${max}: set to ${value}.`;
    help.classList.toggle("wrong", value !== asked);
    set(name, value);
  };
  const field = make("input", { type: "number", inputmode: "decimal", min, max, step: step >= 1 ? 1 : "any", ...described });
  field.addEventListener("change", () => put(field.value === "" ? NaN : Number(field.value)));
  if (knob.kind === "seed") {
    const another = make("button", { type: "button", id: "another" }, "Another clip");
    another.addEventListener("click", () => set(name, (values[name] + 1) % max, true));
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

function lay_upload(knob, described, help) {
  const field = make("input", { type: "file", accept: knob.choices.map((one) => one[0]).join(","), ...described });
  const clear = make("button", { type: "button", id: "clear-upload" }, "Remove");
  const say = (text, wrong) => {
    help.textContent = text;
    help.classList.toggle("wrong", Boolean(wrong));
  };
  clear.addEventListener("click", () => {
    field.value = "";
    say(knob.says);
    set(knob.name, "", true);
  });
  field.addEventListener("change", async () => {
    const [file] = field.files;
    if (!file) return;
    if (file.size > page.largest_upload) {
      say(`${file.name} has ${(file.size / 1e6).toFixed(0)} MB; at most ${(page.largest_upload / 1e6).toFixed(0)} MB are taken (--max-upload-mb).`, true);
      field.value = "";
      return;
    }
    say(`Sending ${file.name}…`);
    try {
      const { upload, name } = await (await call(`api/upload?${new URLSearchParams({ name: file.name })}`, file)).json();
      say(`${name} lies behind the objects.`);
      set(knob.name, upload, true);
    } catch (error) {
      say(error.message, true);
      field.value = "";
    }
  });
  return { head: clear, below: field, put: () => {}, refresh: (value) => (clear.hidden = !value) };
}

function lay_knobs() {
  const groups = page.groups.map((group) => {
    const part = make("details", { open: group.is_open }, make("summary", {}, group.title));
    part.append(...group.knobs.map(lay_knob));
    return part;
  });
  const reset = make("button", { type: "button", id: "reset" }, "Reset all knobs");
  reset.addEventListener("click", () => {
    values = { ...page.first, seed: values.seed, upload: values.upload };
    changed(true);
  });
  $("knobs").replaceChildren(...groups, reset);
  $("knobs").addEventListener("submit", (event) => event.preventDefault());
  for (const knob of knobs.values()) knob.refresh();
}

// Copies

async function copy(button, text) {
  await navigator.clipboard.writeText(text);
  const said = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = said), 1200);
}

for (const name of ["command", "python"]) {
  $(`copy-${name}`).addEventListener("click", (event) => copy(event.target, $(name).textContent).catch(report));
}
$("save-plan").addEventListener("click", async () => {
  try {
    save(await (await call("api/plan", JSON.stringify({ controls: asked() }))).blob(), "clip.json");
  } catch (error) {
    report(error);
  }
});

// Tabs

const tabs = [...document.querySelectorAll("[role=tab]")];
for (const [number, tab] of tabs.entries()) {
  tab.addEventListener("click", () => choose_tab(tab));
  tab.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    const next = tabs[(number + 1) % tabs.length];
    choose_tab(next);
    next.focus();
  });
}

function choose_tab(chosen) {
  for (const tab of tabs) {
    const is_chosen = tab === chosen;
    tab.setAttribute("aria-selected", String(is_chosen));
    tab.tabIndex = is_chosen ? 0 : -1;
    $(tab.getAttribute("aria-controls")).hidden = !is_chosen;
  }
  if (chosen.id === "tab-bank" && !$("objects").children.length) list(1);
}

// The bank

let listed = 0;

async function list(number) {
  const turn = ++listed;
  const words = new URLSearchParams({ category: $("category").value, words: $("words").value, order: $("order").value, page: number });
  try {
    const found = await (await call(`api/objects?${words}`)).json();
    if (turn !== listed) return;
    $("found").textContent = found.total
      ? `${found.first} to ${found.last} of ${found.total} objects of ${page.bank.name}`
      : "No object is called so; try fewer letters.";
    $("objects").replaceChildren(...found.objects.map(lay_object));
    $("page").textContent = `page ${found.page} of ${found.pages}`;
    $("previous").disabled = found.page <= 1;
    $("next").disabled = found.page >= found.pages;
    $("pages").hidden = found.pages < 2;
    $("pages").dataset.number = found.page;
  } catch (error) {
    $("found").textContent = error.message;
  }
}

function lay_object(one) {
  const score = one.score === null ? one.category : `${one.category} · score ${one.score}`;
  const node = make(
    "button", { type: "button", title: one.name },
    make("img", { src: one.picture, alt: "" }), make("b", {}, one.name), make("small", {}, score),
  );
  node.addEventListener("click", async () => {
    try {
      const found = await (await call(`api/object?index=${one.index}`)).json();
      const dialog = $("portrait");
      dialog.querySelector("h2").textContent = found.name;
      dialog.querySelector("img").src = found.picture;
      const rows = found.record.map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, value)));
      dialog.querySelector("table").replaceChildren(...rows);
      dialog.showModal();
    } catch (error) {
      $("found").textContent = error.message;
    }
  });
  return node;
}

$("previous").addEventListener("click", () => list(Number($("pages").dataset.number) - 1));
$("next").addEventListener("click", () => list(Number($("pages").dataset.number) + 1));
let typing;
$("words").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => list(1), 200);
});
for (const id of ["category", "order"]) $(id).addEventListener("change", () => list(1));
$("search").addEventListener("submit", (event) => event.preventDefault());

async function start() {
  page = await (await call("api/page")).json();
  values = { ...page.first };
  lay_knobs();
  $("category").replaceChildren(...page.bank.categories.map(([name, count]) => make("option", { value: name }, `${name} (${count})`)));
  $("ordering").hidden = !page.bank.scored;
  await ask();
}

start().catch(report);
