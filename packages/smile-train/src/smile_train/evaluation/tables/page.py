"""The style of the page around the tables of a report."""

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --soft: #667080; --line: #d9dee5;
  --ours: #eef5ff; --mark: #0b62c4; --up: #14803c; --down: #b3401f; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --ink: #e6e9ee; --soft: #98a2b0;
  --line: #2c333c; --ours: #1a2738; --mark: #7db4ff; --up: #5cc987; --down: #f0916f; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 68rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .4rem; }
header p { margin: 0; color: var(--soft); max-width: 46rem; }
nav { display: flex; flex-wrap: wrap; gap: .4rem; margin: 1.2rem 0 .5rem; }
nav a { font-size: .85rem; padding: .15rem .65rem; border: 1px solid var(--line);
  border-radius: 1rem; color: var(--soft); text-decoration: none; }
nav a.has { color: var(--mark); border-color: currentColor; font-weight: 600; }
section { margin-top: 2.4rem; scroll-margin-top: 1rem; }
h2 { font-size: 1.15rem; margin: 0 0 .6rem; }
h2 small { font-size: 1rem; font-weight: normal; color: var(--soft); margin-left: .4rem; }
.scroll { overflow-x: auto; width: fit-content; max-width: 100%;
  border: 1px solid var(--line); border-radius: .5rem; }
table { border-collapse: separate; border-spacing: 0; font-size: .92rem; }
th, td { padding: .4rem .9rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums; }
tbody tr:last-child > * { border-bottom: 0; }
thead th { font-weight: 600; color: var(--soft); font-size: .82rem; }
th[scope=row], thead td { text-align: left; font-weight: normal; position: sticky; left: 0;
  background: var(--paper); }
th[scope=row] span { display: inline-block; min-width: 9rem; max-width: 20rem;
  white-space: normal; overflow-wrap: anywhere; vertical-align: top; }
th.plain, td.plain { text-align: left; }
.ours > * { background: var(--ours) !important; }
.ours td:not(.plain) { font-weight: 600; }
.ours th[scope=row] { padding-left: 1.5rem; color: var(--mark); }
.ours th[scope=row]::before { content: "↳ "; }
.aside { display: inline-block; width: 5em; text-align: left; font-weight: normal;
  font-size: .82rem; padding-left: .25em; }
.aside.narrow { width: 2em; }
td i { font-style: normal; margin-left: .3em; }
.up { color: var(--up); }
.down { color: var(--down); }
sup { color: var(--mark); font-weight: normal; line-height: 0; }
section p, ul { font-size: .84rem; color: var(--soft); margin: .5rem 0 0; max-width: 52rem; }
ul { list-style: none; padding: 0; }
li { overflow-wrap: anywhere; }
li b { color: var(--mark); margin-right: .2rem; }
@media (max-width: 40rem) {
  body { padding-top: 1.2rem; }
  th, td { padding: .35rem .6rem; }
  th[scope=row] span { min-width: 5rem; max-width: 8rem; }
  .ours th[scope=row] { padding-left: .8rem; }
  h2 small { display: block; margin: 0; }
}
"""
