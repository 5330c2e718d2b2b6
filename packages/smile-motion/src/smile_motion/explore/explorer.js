"use strict";
// The explorer's page: knobs, the clip that they make, and the bank. Uses `player.js` and `knobs.js`.

const player = new Player($("player"), {
  encode,
  waiting: "Making the first clip… The first one on a machine takes up to a minute, since its code is compiled.",
  offered: [["flow", "Flow", "where each point goes by the next frame"]],
  onLayers: (on) => on.has("flow") && !has_flow && clips.ask(),
});

player.tools.append($("copies"));

let page, knobs;
let has_flow = false;

const asked = () => ({ ...knobs.values, compare: knobs.values.compare || null });

const clips = new Latest(async (outdated) => {
  const flow = player.on.has("flow");
  const answer = await (await call("api/clip", JSON.stringify({ controls: asked(), flow }))).json();
  if (outdated()) return;
  await player.open(answer.clips);
  has_flow = flow;
  $("command").textContent = answer.copies.command;
  $("python").textContent = answer.copies.python;
  $("beside").textContent = answer.copies.beside || "";
  $("beside").hidden = !answer.copies.beside;
}, $("show"));

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
  const said = [one.category, one.score === null ? "" : `score ${one.score}`, one.poses > 1 ? `${one.poses} poses` : ""];
  const node = make(
    "button", { type: "button", title: one.name },
    make("img", { src: one.picture, alt: "" }), make("b", {}, one.name), make("small", {}, said.filter(Boolean).join(" · ")),
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
  knobs = new Knobs($("knobs"), page, () => clips.ask());
  $("category").replaceChildren(...page.bank.categories.map(([name, count]) => make("option", { value: name }, `${name} (${count})`)));
  $("ordering").hidden = !page.bank.scored;
  await clips.ask();
}

start().catch(report);
