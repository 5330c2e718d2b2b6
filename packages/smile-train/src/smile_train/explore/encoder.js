"use strict";
// What an encoder makes of a clip. Uses `player.js` and `knobs.js`.

let page, knobs;

const player = new Player($("player"), {
  encode,
  layers: ["outlines"],
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

$("side").prepend(player.tools, player.says);

const scenes = new Latest(async (outdated) => {
  const answer = await (await call("api/clip", JSON.stringify({ controls: knobs.values }))).json();
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

async function follow_probe() {
  let first = null;
  for (;;) {
    await new Promise((done) => setTimeout(done, 1000));
    if (!$("probe").disabled) return;
    const { done, total } = await (await call("api/probing")).json();
    if (!$("probe").disabled || !done) continue;
    first ||= { done, at: performance.now() };
    const rate = (done - first.done) / (performance.now() - first.at);
    if (!rate) continue;
    const left = (total - done) / rate / 1000;
    const said = left < 90 ? `${Math.ceil(left)} s` : `${Math.round(left / 60)} min`;
    $("probed").textContent = `Clip ${done} of ${total}, about ${said} to go; the page can be used meanwhile.`;
  }
}

$("probe").addEventListener("click", async () => {
  $("probe").disabled = true;
  $("probed").textContent = "Rendering clips whose motion is known…";
  follow_probe().catch(() => {});
  let said;
  try {
    const { rows, clips } = await (await call("api/probe", "{}")).json();
    const line = (name, cell) => make("tr", {}, make("td", {}, name), make("td", {}, cell));
    const parts = rows.map(({ question, answers, guessing, knows }) => make(
      "tbody", {}, make("tr", {}, make("th", { scope: "rowgroup", colspan: 2 }, question)),
      line("this encoder", knows ? make("b", {}, answers[0]) : answers[0]),
      line("random weights", answers[1]), line("guessing", guessing),
    ));
    document.querySelector("#probes table").replaceChildren(...parts);
    said = `Shares of ${clips} clips over black that linear read-outs of mean features get right, with `
      + "95 % intervals; bold: beyond random weights.";
    $("probe").hidden = true;
  } catch (error) {
    said = error.message;
  }
  $("probe").disabled = false;
  $("probed").textContent = said;
});

async function start() {
  page = await (await call("api/page")).json();
  $("name").textContent = page.name;
  $("size").textContent = page.says;
  knobs = new Knobs($("knobs"), page, () => scenes.ask());
  await scenes.ask();
}

start().catch(report);
