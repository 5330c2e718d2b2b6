"""Runs beside the paper's tables: what is published, which row a run has, what is written."""

import csv
import html
import html.parser
import json
import re
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest
from smile_motion.cli.app import run_app
from smile_motion.io.markup import source_hash
from smile_train.__main__ import COMMANDS
from smile_train.config.pretrain_presets import NOTES, PRESETS
from smile_train.evaluation.severe import EXPERIMENTS
from smile_train.evaluation.tables.collect import build_report, find_runs
from smile_train.evaluation.tables.format import Cell, Sheet, SheetLine, letter, make_sheets, signed
from smile_train.evaluation.tables.published import OTHERS, TABLES
from smile_train.evaluation.tables.schema import MEAN
from smile_train.evaluation.tables.write import as_html, as_markdown, write_report
from support.results import make_results


def evaluate(*words: str | Path) -> int:
    return run_app("smile_train", "", COMMANDS, ["evaluate", *map(str, words)])


def test_tables_hold_the_published_numbers() -> None:
    """The presets' notes were written apart; both must say the same of every ablation."""
    found = 0
    for table in TABLES:
        for row in table.rows:
            if set(row.published) == {"k400m", "ssv2m"} and row.key in NOTES:
                pair = f"{row.published['k400m']} / {row.published['ssv2m']}"
                assert NOTES[row.key].endswith(pair), (table.name, row.key)
                found += 1
            columns = {column.key for column in table.columns}
            assert set(row.published) <= columns
            assert row.key in PRESETS or row.key in OTHERS
        assert not any(row.published for row in table.rows) or table.source
    assert found == 29
    by_name = {table.name: table for table in TABLES}
    names = " ".join(by_name)
    assert all(f"Table {number}" in names for number in range(1, 8))
    severe = {row.key: row.published for row in by_name["Table 6"].rows if row.published}
    tracked = severe.pop("trackmae-vit-b")
    assert list(tracked.values()) == [72.8, 91.1, 86.7, 34.4, 59.0, 90.1, 0.17, 30.5]
    assert severe.pop("trackmae-pixel")["ucf-rc"] == 0.162
    assert severe == {"videomae-vit-b": {MEAN: 57.6}, "smile-vit-b": {MEAN: 67.9}}
    assert "72.8" in NOTES["trackmae-vit-b"]
    assert "83.9" in NOTES["trackmae-vit-b"]
    linear = next(row for row in by_name["Table 1"].rows if row.key == "smile-vit-b")
    assert list(linear.published.values()) == [56.2, 83.8, 53.4, 23.7, 30.2, 34.4]
    for table, column, value in (("Table 2", "ssv2", 72.1), ("Table 3", "k400", 83.1)):
        rows = {row.key: row for row in by_name[table].rows}
        assert rows["smile-vit-b"].published == {column: value}
        elsewhere = {key for key, row in rows.items() if row.source}
        assert elsewhere == {key for key, row in rows.items() if row.published} - {"smile-vit-b"}


def write_all(root: Path) -> None:
    """Runs for every kind of table, and one for none."""
    ratio = partial(make_results, "table4e-ratio-80", source="runs/ratio")
    ratio(dataset="K400m", value=79.6).write(root / "ratio/k400m")
    ratio(value=62.5).write(root / "ratio/ssv2m")
    ratio(value=63.5, ours=("epochs 9",)).write(root / "ratio/again")
    listed = {"subset": "lists/ssv2m.jsonl"}
    make_results("table7-noise", dataset="ssv2", config=listed, value=50.0, partial=True).write(
        root / "noise"
    )
    smile = partial(make_results, "smile-vit-b", source="runs/smile")
    for protocol in ("linear-sigma", "knn"):
        smile(protocol=protocol, dataset="epic-verb", partial=True).write(
            root / f"smile/{protocol}"
        )
    smile(protocol="similarity", dataset="any", metric="last", value=0.4,
            metrics={"second": 0.7, "last": 0.4}).write(root / "smile/similarity")  # fmt: skip
    for number, (name, experiment) in enumerate(EXPERIMENTS.items()):
        value = 0.4 if experiment.metric == "mae" else 50.0 + number
        few = {"few": experiment.few, "seed": 3} if experiment.few else {}
        smile(
            dataset=experiment.dataset, metric=experiment.metric, value=value, config=few,
            partial=bool(few),
        ).write(root / f"smile/severe/{name}")  # fmt: skip
    make_results("tiny", dataset="mine", source="runs/tiny").write(root / "tiny")


def test_runs_go_into_their_tables(tmp_path: Path) -> None:
    write_all(tmp_path / "runs")
    report = build_report(find_runs([tmp_path / "runs"], {})[0])
    assert len(report.runs) == 16
    assert {run.results.protocol for run in report.others} == {"knn", "finetune"}
    assert {run.source for run in report.others} == {"runs/smile", "runs/tiny"}
    filled = {entry.table.name: entry for entry in report.tables}

    def lines(table: str, row: str):
        return next(entry for entry in filled[table].rows if entry.row.key == row).lines

    [ratio] = lines("Table 4e", "table4e-ratio-80")
    assert [value.number for value in ratio.cells["k400m"]] == [79.6]
    assert sorted(value.number for value in ratio.cells["ssv2m"]) == [62.5, 63.5]
    assert {note for value in ratio.cells["ssv2m"] for note in value.notes} == {"ours: epochs 9"}
    [noise] = lines("Table 7", "table7-noise")
    assert noise.cells["ssv2m"][0].notes == ()
    [probe] = lines("Table 1", "smile-vit-b")
    assert probe.cells["epic"][0].notes == (
        "epic-verb", "partial data set: 1,000 samples tested",
    )  # fmt: skip
    [figure] = lines("Figure 4", "smile-vit-b")
    assert {key: cell[0].number for key, cell in figure.cells.items()} == {
        "second": 0.7,
        "last": 0.4,
    }
    [severe] = lines("Table 6", "smile-vit-b")
    assert set(severe.cells) == {*EXPERIMENTS, MEAN}
    expected = (50 + 51 + 52 + 53 + 54 + 55 + 60 + 57) / 8
    assert severe.cells[MEAN][0].number == pytest.approx(expected)
    assert severe.cells[MEAN][0].notes == ("training samples drawn by seed 3",)
    [tuned] = lines("Table 2", "smile-vit-b")
    assert tuned.cells["ssv2"][0].number == 50.0


def test_a_file_of_several_runs_has_rows_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As benchmarks/evidence keeps them: a row for each arm, a number for each seed."""
    runs = []
    for arm, first in (("frame", 30.0), ("frame-motion", 40.0)):
        for seed in range(2):
            shared = {"dataset": "movements", "source": arm, "config": {"seed": seed}}
            evaluations = [
                make_results(None, protocol=protocol, value=first + 2 * seed + more, **shared)
                for protocol, more in (("finetune", 0), ("linear-strict", 5))
            ]
            evaluations = [asdict(results) for results in evaluations]
            runs.append({"arm": arm, "row": f"own:{arm}", "evaluations": evaluations})
    file = tmp_path / "cpu.json"
    file.write_text(json.dumps({"runs": runs}))
    assert evaluate("report", file, "--out", tmp_path / "report") == 0
    table = (tmp_path / "report/report.md").read_text().partition("## Evidence.")[2]
    assert "| | fine-tuned | strict probe |" in table
    assert "| frame-motion |" in table.replace("\\-", "-")
    assert "40.0, 42.0" in table
    assert "45.0, 47.0" in table
    write_all(tmp_path / "runs")
    report = build_report(find_runs([tmp_path / "runs"], {})[0])
    assert "Evidence" not in {entry.table.name for entry in report.tables}
    file.write_text(json.dumps({"runs": [{"arm": "frame"}]}))
    assert evaluate("report", file, "--out", tmp_path / "other") == 2
    assert "cpu.json: runs" in capsys.readouterr().err


class Tables(html.parser.HTMLParser):
    """Collects the rows of a page's tables, and what it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.loaded: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "img", "iframe"):
            self.loaded.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in ("meta", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "tr" in self.open and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def test_all_formats_say_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_all(tmp_path / "runs")
    assert evaluate("report", tmp_path / "runs", "--out", tmp_path / "out") == 0
    assert "16 runs of 4 checkpoints: 14 in the paper's tables" in capsys.readouterr().out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"report.md", "report.html", "report.csv"}
    markdown = (tmp_path / "out/report.md").read_text()
    assert "| 0.80 | 80.3 | 62.0 |" in markdown
    assert "| ↳ ours: ratio | **79.6** (−0.7) | **63.5, 62.5** (+1.0) <sup>a</sup> |" in markdown
    assert "<sup>a</sup> ours: epochs 9" in markdown
    assert "## Other runs" in markdown

    page = Tables()
    text = (tmp_path / "out/report.html").read_text()
    page.feed(text)
    assert not page.open
    assert not page.loaded
    assert "prefers-color-scheme: dark" in text
    assert "width=device-width" in text
    assert ["0.80", "80.3", "62.0"] in page.rows
    assert ["ratio", "79.6−0.7", "63.5, 62.5a+1.0"] in page.rows
    markdown_rows = [line for line in markdown.splitlines() if re.match(r"\| [^-]", line)]
    drawn = [row for row in page.rows if any(row[1:]) or row[0]]
    heads = sum(line.startswith("| | ") for line in markdown.splitlines())
    assert len(drawn) == len(markdown_rows)
    assert heads == text.count("<table>")

    with (tmp_path / "out/report.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    of_runs = {row["run"] for row in rows} - {""}
    assert of_runs == {str(path.parent) for path in (tmp_path / "runs").rglob("results.json")}
    published = {
        (row["table"], row["row"], row["column"]): float(row["published"])
        for row in rows
        if row["published"]
    }
    for table in TABLES:
        titles = {column.key: column.title for column in table.columns}
        for entry in table.rows:
            for key, value in entry.published.items():
                assert published[table.name, entry.label, titles[key]] == value
    longer = next(row for row in rows if "1200" in row["row"])
    assert "beside the code of SMILE's authors" in longer["source"]
    assert "<sup>c</sup> published: the list of models beside the code" in markdown
    counted = next(row for row in rows if row["column"] == "UCF-RC ↓")
    assert counted["ours"] == "0.4"
    assert counted["metric"] == "mae"


def test_less_is_better_where_it_is(tmp_path: Path) -> None:
    write_all(tmp_path / "runs")
    sheets = {
        sheet.name: sheet
        for sheet in make_sheets(build_report(find_runs([tmp_path / "runs"], {})[0]))
    }
    worse, better = sheets["Table 4e"].lines[-1].cells
    assert (worse.better, better.better) == (False, True)
    assert sheets["Other runs"].lines[0].cells[0].text in ("epic-verb", "mine")


def test_rows_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_results(None, dataset="ssv2", source="a.pth", value=69.0).write(tmp_path / "a")
    make_results(None, dataset="ssv2", source="b.pth", value=68.0).write(tmp_path / "b")
    words = ("report", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "out", "--row")
    assert evaluate(*words, f"{tmp_path / 'a'}=mvd", f"{tmp_path / 'b'}=own:My | model") == 0
    said = (tmp_path / "out/report.md").read_text()
    assert "| MVD |  |\n| ↳ ours: a | **69.0** <sup>b</sup> |" in said
    assert "| My \\| model |  |\n| ↳ ours: b | **68.0** |" in said
    assert "pre-training: row given by hand" in said
    assert "Other runs" not in said
    capsys.readouterr()
    for row, message in (
        (f"{tmp_path / 'a'}=mvdd", "no row is called 'mvdd'"),
        (f"{tmp_path / 'c'}=mvd", "not among the runs"),
        ("mvd", "expected RUN=ROW"),
    ):
        assert evaluate(*words, row) == 2
        assert message in capsys.readouterr().err
    assert evaluate("report", tmp_path / "out", "--out", tmp_path / "out") == 2
    assert "no results.json in it" in capsys.readouterr().err
    (tmp_path / "features").mkdir()  # beside it, as `runs/*` gives it
    words = ["report", tmp_path / "features", tmp_path / "a", "--out", tmp_path / "out"]
    assert evaluate(*words) == 0
    assert "features: no results in it (yet); left out" in capsys.readouterr().err


@pytest.mark.slow
def test_what_is_not_finished_or_damaged_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Evaluations that were begun are named, wherever they lie; pre-training is no evaluation."""
    write_all(tmp_path / "runs")
    for name, config in (("begun", {"protocol": "finetune"}), ("pretrained", {"preset": "tiny"})):
        (tmp_path / "runs/deep" / name / "checkpoints").mkdir(parents=True)
        (tmp_path / "runs/deep" / name / "config.json").write_text(json.dumps(config))
    file = tmp_path / "runs/tiny/results.json"
    assert evaluate("report", tmp_path / "runs", "--out", tmp_path / "out") == 0
    said = capsys.readouterr().err
    assert f"{tmp_path / 'runs/deep/begun'}: no results in it (yet)" in said
    assert "pretrained" not in said
    assert evaluate("report", file, "--out", tmp_path / "one") == 0
    assert "1 run of 1 checkpoint" in capsys.readouterr().out
    assert evaluate("report", "--out", tmp_path / "one") == 2
    assert "no runs; give folders" in capsys.readouterr().err
    whole = json.loads(file.read_text())
    for change, message in (
        ({"metrics": {}}, "no 'top1' among its metrics"),
        ({"metrics": {"top1": None}}, "metrics.top1 is None; expected a valid number"),
        ({"samples": "many"}, "samples is 'many'; expected a valid integer"),
        ({"pretraining": None}, "pretraining is None; expected"),
        ({"checkpoint": {}}, "no source or sha256"),
        ({"samples": True}, "samples is True; expected a valid integer"),
        ({"newer": 1}, "newer is an unknown field"),
    ):
        file.write_text(json.dumps(whole | change))
        assert evaluate("report", tmp_path / "runs", "--out", tmp_path / "out") == 2
        error = capsys.readouterr().err
        assert message in error
        assert str(file) in error


def test_what_a_run_says_of_itself_is_shown_as_text(tmp_path: Path) -> None:
    hostile = '<script>alert(1)</script>"><img src=x onerror=a>'
    sheet = Sheet(
        name=hostile,
        title=hostile,
        heads=(hostile,),
        lines=(SheetLine(label=hostile, detail=hostile, cells=(Cell(text=hostile),)),),
        notes=(hostile,),
    )
    page = Tables()
    text = as_html([sheet], build_report([]))
    page.feed(text)
    assert not page.loaded
    assert not page.open
    assert [hostile, hostile] in page.rows
    style = text[text.index("<style>") + 7 : text.index("</style>")]
    assert source_hash(style) in html.unescape(text)


def test_a_real_run_is_reported(
    checkpoint: Path, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A probe as a user runs it: what it wrote is read back, and is in a table of its own."""
    words = [
        *("probe", "knn", str(checkpoint), f"--data={scenes}", f"--out={tmp_path / 'knn'}"),
        *(f"--cache={tmp_path / 'cache'}", "--workers=0", "--precision=fp32", "--stride=1"),
    ]
    assert run_app("smile_train", "", COMMANDS, words) == 0
    assert evaluate("report", tmp_path / "knn", "--out", tmp_path / "out") == 0
    [run], without = find_runs([tmp_path / "knn"], {})
    assert not without
    report = build_report([run])
    assert report.others == (run,)
    assert run.results.pretraining["student"] == "mini"
    value = f"{run.results.metrics['top1']:.3g}"
    assert f"| **{value}**" in (tmp_path / "out/report.md").read_text()
    again = as_markdown(make_sheets(report), report)
    assert again == (tmp_path / "out/report.md").read_text()
    assert write_report(report, tmp_path / "out")[0].read_text() == again
    assert asdict(run.results)["samples"] == 12


def test_letters_and_signs() -> None:
    assert [letter(n) for n in (0, 25, 26, 27, 701, 702)] == ["a", "z", "aa", "ab", "zz", "aaa"]
    assert signed(-0.25, 1) == "−0.2"
    assert signed(0.3, 2) == "+0.30"
