"use strict";
// What an encoder makes of a clip. Uses `player.js` and `knobs.js`.

let page, knobs;

const player = new Player($("player"), {
  encode,
  layers: [],
  waiting: "Making and encoding the first clip…",
  // A click asks the token that is there.
  onPoint: (one, x, y, frame) => {
    const { limits } = page;
    const at = (share, name) => Math.min(limits[name][1], Math.floor(share * (limits[name][1] + 1)));
    Object.assign(knobs.values, {
      query: "token", slice: Math.floor(frame / page.tubelet), row: at(y, "row"), column: at(x, "column"),
    });
    player.toggle(false);
    knobs.changed(true);
  },
});

const scenes = new Latest(async (outdated) => {
  const answer = await (await call("api/clip", JSON.stringify(knobs.values))).json();
  if (outdated()) return;
  await player.open(answer.clips);
  $("facts").textContent = answer.facts.join(" ");
  draw_matrix(answer.matrix);
}, $("show"));

// Cosines from the lowest (dark) to 1 (bright).
function draw_matrix(matrix) {
  const canvas = $("matrix");
  const count = matrix.length;
  const cell = Math.max(1, Math.floor(224 / count));
  canvas.width = canvas.height = count * cell;
  const context = canvas.getContext("2d");
  const low = Math.min(...matrix.flat());
  matrix.forEach((row, i) => row.forEach((value, j) => {
    const share = (value - low) / Math.max(1e-9, 1 - low);
    context.fillStyle = `hsl(${265 - 215 * share} 70% ${18 + 52 * share}%)`;
    context.fillRect(j * cell, i * cell, cell, cell);
  }));
  const last = matrix[0][count - 1];
  $("curve").textContent = `cosine of mean features, ${low.toFixed(3)} (dark) to 1; first with last ${last.toFixed(3)}`;
}

$("probe").addEventListener("click", async () => {
  $("probe").disabled = true;
  $("probed").textContent = "Asking on 640 clips, twice: it takes a minute or more…";
  try {
    const { rows } = await (await call("api/probe", "{}")).json();
    const columns = ["question", "this encoder", "random weights", "guessing"];
    const head = make("tr", {}, ...columns.map((name) => make("th", { scope: "col" }, name)));
    const body = rows.map((row) => make("tr", {}, ...row.map((cell) => make("td", {}, cell))));
    document.querySelector("#probes table").replaceChildren(head, ...body);
    $("probed").textContent = "Linear read-outs of mean features, on clips over black whose motion is known.";
    $("probe").hidden = true;
  } catch (error) {
    $("probed").textContent = error.message;
  }
  $("probe").disabled = false;
});

async function start() {
  page = await (await call("api/page")).json();
  $("name").textContent = page.name;
  document.title = `${page.name}: SMILE encoder explorer`;
  $("size").textContent = page.says;
  $("probes").hidden = !page.probes;
  knobs = new Knobs($("knobs"), page, () => scenes.ask());
  await scenes.ask();
}

start().catch(report);
