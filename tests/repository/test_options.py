"""Options that others make idle are refused, in every command of both programs."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import smile_motion.__main__
import smile_train.__main__
from smile_motion.cli.app import Command, read_options, run_app
from smile_motion.clips.options import ClipOptions
from smile_motion.errors import InputError, OptionError
from smile_motion.io.options import conditions_of, given_options
from smile_train.cli import pretrain
from smile_train.config.pretrain_presets import PRESETS

COMMANDS = {
    "smile-motion": smile_motion.__main__.COMMANDS,
    "smile-train": smile_train.__main__.COMMANDS,
}
ALWAYS = {
    "smile-motion render": "background bank videos images recipe-file frames size width tubelet "
    "patch seed out n format engine shard-index num-shards",
    "smile-motion build-bank": "n source out seed workers shard-index num-shards engine",
    "smile-train pretrain": "out resume stop-at compile workers track save-every keep log-every "
    "background bank videos images recipe-file frames size width tubelet patch seed preset "
    "list-presets student init gradient-checkpointing target strategy masking mask-ratio "
    "masks-per-clip decoder-mask-ratio visible-weight target-layers motion-target steps batch "
    "accumulate base-lr min-lr warmup-epochs weight-decay betas clip-grad render knn picture-every "
    "probe-motion-every precision cpu-threads minutes config",
}
"""Options that others never make idle, of the commands where some are: a new option belongs here,
or says what it needs."""


def commands() -> Iterator[tuple[str, Command]]:
    for program, entries in COMMANDS.items():
        for command in entries:
            yield f"{program} {command.name}", command


@pytest.mark.parametrize("name", ALWAYS)
def test_every_option_says_what_it_needs(name: str) -> None:
    options = dict(commands())[name].load().Options
    free = {option for option, needs in conditions_of(options) if not needs}
    assert free == set(ALWAYS[name].split())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("render --background noise --videos V", "--videos goes with --background natural"),
        ("render --background black --images V", "--images goes with --background places"),
        ("render --videos V --images V", "--images goes with"),
        ("render --background black --noise gaussian", "only with --background noise"),
        ("render --background black --noise-per-frame", "only with --background noise"),
        ("render --stride 2", "--stride has an effect only with --background natural"),
        ("render --recipe-file R --path linear", "--path has an effect only without --recipe-file"),
        ("render --recipe-file R --objects 3", "only without --recipe-file"),
        ("render --objects 0 --effects motion-blur", "only with --objects 1 or more"),
        ("render --background black --allow-broken", "a --background that comes from --videos"),
        ("render --bank --n 3", "--bank: no value is given; give one or more, or leave it out"),
        ("render --videos V --videos V", "--videos is given 2 times; give a folder that holds bo"),
        ("pretrain --images V --images R", "--images is given 2 times"),
        ("render --format coco --lossless", "only with --format mp4"),
        ("render --format frames --rate-hz 5", "only with --format mp4"),
        ("render --points=8", "only with --format tapvid"),
        ("render --format flo --points-on objects", "only with --format tapvid or tapvid-kubric"),
        ("render --videos V --camera pan", "--camera has an effect only over a still image"),
        ("pretrain --videos V --camera pan", "--camera has an effect only over a still image"),
        ("preview --noise-per-frame --camera pan", "noise without --noise-per-frame; change that"),
        ("render --recipe-file R --camera pan", "only without --recipe-file"),
        ("render --clips_per_shard 8", "only with --format webdataset or datasets"),
        ("render --address h:1", "only with --engine ray"),
        ("build-bank --source procedural --steps 3", "only with --source stable-diffusion"),
        ("build-bank --source images --from V --prompt x", "only with --source stable-diffusion"),
        ("build-bank --source folder --from V --margin 2", "with --source stable-diffusion or ima"),
        ("build-bank --source procedural --list R", "--list has an effect only with --source fold"),
        ("pretrain --mixed-share .3", "only with --strategy mixed"),
        ("pretrain --preset tiny --teacher X", "--teacher has an effect only with a --target"),
        ("pretrain --second-epochs 3", "only with --strategy progressive"),
        ("pretrain --masking tube --trajectory-visible .1", "with --masking trajectory or officia"),
        ("pretrain --steps 3 --epochs 3", "--epochs has an effect only without --steps"),
        ("pretrain --videos V --samples 8", "which are endless"),
        ("finetune X --fold 2", "only with --dataset ucf101 or hmdb51"),
        ("finetune X --no-augment --erasing .5", "only without --no-augment"),
        ("probe strict X --sampling uniform --stride 2", "only with --sampling dense"),
    ],
)
def test_idle_options_are_refused_in_a_line(
    line: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "V").mkdir()
    (tmp_path / "R").touch()
    places = {"V": str(tmp_path / "V"), "R": str(tmp_path / "R")}
    words = [places.get(word, word) for word in line.split()]
    if words[0] == "render":
        words += ["--out", str(tmp_path / "out")]
    program = "smile-train" if words[0] in ("pretrain", "finetune", "probe") else "smile-motion"
    assert run_app(program, "", COMMANDS[program], words) == 2
    said = capsys.readouterr().err.splitlines()
    assert message in said[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "flip"),
    [
        ("", None),
        ("--flip", True),
        ("--no-flip", False),
        ("--flip False", False),
        ("--flip=True", True),
        ("--flip --seed 3", True),
        ("--no-flip --no-augment", OptionError),
    ],
)
def test_an_undecided_switch_is_typed_as_any_other(words: str, flip: object) -> None:
    from smile_train.cli import finetune

    line = ["runs/x", "--data", "videos", *words.split()]
    if flip is OptionError:
        with pytest.raises(OptionError, match="only without --no-augment"):
            read_options("smile-train finetune", finetune, line)
    else:
        assert read_options("smile-train finetune", finetune, line).flip is flip


def test_videos_imply_natural_and_photographs_places() -> None:
    here = Path(__file__).parent
    assert ClipOptions(videos=here).background_kind == "natural"
    assert ClipOptions(videos=here, background="frame").background_kind == "frame"
    assert ClipOptions(images=here).background_kind == "places"
    assert ClipOptions(videos=here, recipe="moving-circles").background_kind == "natural"
    assert ClipOptions(images=here, recipe="moving-circles").background_kind == "places"
    assert ClipOptions(images=here, recipe="accelerating-crops").background_kind == "black"
    assert ClipOptions(images=here, recipe="pseudo-motion").background_kind == "pseudo-motion"
    both = ClipOptions(videos=here, images=here, recipe="accelerating-crops")
    assert both.background_kind == "natural"
    with pytest.raises(InputError, match="--images goes with"):
        ClipOptions(images=here, recipe="accelerating-crops", bank=here, background="black")
    with pytest.raises(InputError, match="--videos goes with"):
        replace(PRESETS["table7-black-motion"], videos=here)


def test_given_videos_decide_over_a_presets_background(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--preset=tiny", "--videos=clips"]
    assert pretrain.defaults(given).background_kind == "natural"
    assert capsys.readouterr().err == "background: natural, because --videos are given\n"
    assert pretrain.defaults(["--preset", "table7-frame", *given[1:]]).background_kind == "frame"
    assert pretrain.defaults(["--preset=tiny", "--images", "x"]).background_kind == "places"
    assert pretrain.defaults([*given, "--background=frame"]).background_kind == "black"


def test_a_command_is_given_without_its_idle_options() -> None:
    words = ClipOptions(background="black", noise="gaussian", stride=2, seed=3).arguments()
    assert words == ["--background", "black", "--seed", "3"]


def test_given_options_are_known_however_they_are_written() -> None:
    assert given_options(["x", "--no-augment", "--base_lr=1", "--n", "-1"]) == {
        *("no-augment", "augment", "base-lr", "n")
    }
