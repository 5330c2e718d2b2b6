"""Turn a checkpoint into what other tools read: transformers, ONNX, the published format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from smile_motion.cli.app import Outcome
from smile_motion.errors import InputError
from smile_motion.io.options import Heads

if TYPE_CHECKING:
    from smile_train.models.heads import Classifier
    from smile_train.models.mae import PretrainModel

EXAMPLES = (
    "smile-train export runs/first --out exported",
    "smile-train export runs/first --to onnx --out encoder.onnx",
    "smile-train export runs/first --to hub --out hub-folder --push OWNER/model",
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `smile_train export`."""

    checkpoint: Annotated[Path, tyro.conf.Positional]
    """A checkpoint's folder, a run's folder (its newest one), or a published file."""
    out: Path
    """Folder for `transformers`, `transformers-pretraining` and `hub`, file for the others."""
    to: Literal["transformers", "transformers-pretraining", "onnx", "official", "hub"] = (
        "transformers"
    )
    """`transformers`' VideoMAE (encoder, or classifier) with its image processor; its whole
    pre-training model (of pixels); an ONNX file of the encoder or classifier, checked; the
    published checkpoint format; or a folder that `from_pretrained` of our models reads."""
    push: str | None = None
    """Hub repository that the folder is then pushed to, `name/model`."""
    heads: Heads | None = None
    """Attention heads of a published checkpoint, where they are not the width over 64."""


def run(options: Options) -> Outcome:
    """Export and say where the result is."""
    from smile_train.checkpoints.onnx import export_onnx
    from smile_train.checkpoints.open import open_model
    from smile_train.checkpoints.published import save_official
    from smile_train.checkpoints.to_transformers import export_transformers
    from smile_train.config.machine import use_cores
    from smile_train.models.heads import Classifier
    from smile_train.models.mae import LIBRARY
    from smile_train.training.model_card import write_model_card

    if options.push and options.to in ("onnx", "official"):
        raise InputError(f"--push: --to {options.to} writes a file; push one of the folders")
    use_cores()
    model, classes, source = open_model(options.checkpoint, heads=options.heads)
    out = options.out
    match options.to:
        case "official":
            save_official(out, model, args={"model": "smile"}, epoch=0)
            print(f"{out}: {source} in the published format{_left_out(model)}")
        case "onnx":
            worst = export_onnx(model if isinstance(model, Classifier) else model.encoder, out)
            print(f"{out}: {source}, ONNX Runtime's outputs within {worst:.1e} of torch's")
        case "hub":
            _save_for_hub(model, out)
            kind = type(model).__name__
            use = f"import smile_train\n\nmodel = smile_train.load({out.name!r})  # or OWNER/NAME"
            write_model_card(out, model, source, library=LIBRARY, use=use)
            print(f"{out}: {source} for smile_train.models.{kind}.from_pretrained({str(out)!r})")
        case _:
            whole = options.to == "transformers-pretraining"
            export_transformers(model, out, pretraining=whole, classes=classes)
            kind = _their_class(model, whole)
            use = f"from transformers import {kind}\n\n"
            use += f"model = {kind}.from_pretrained({out.name!r})  # or OWNER/NAME"
            write_model_card(out, model, source, library="transformers", use=use)
            said = _left_out(model) if whole else ""
            print(f"{out}: {source} for {kind}.from_pretrained({str(out)!r}){said}")
    if options.push:
        from huggingface_hub import HfApi
        from smile_motion.io.hub import hub_errors_explained, require_online

        with hub_errors_explained(options.push, writing=True):
            require_online()
            made = HfApi().create_repo(options.push, exist_ok=True)
            commit = HfApi().upload_folder(repo_id=made.repo_id, folder_path=out)
        print(f"{commit.commit_url}: smile_train.load({made.repo_id!r})")
    return Outcome({"out": out, "to": options.to, "source": source, "pushed": options.push})


def _left_out(model: PretrainModel | Classifier) -> str:
    """What of a pre-training model other formats have no place for."""
    from smile_train.models.mae import PretrainModel

    seen = isinstance(model, PretrainModel) and model.decoder.predict_visible
    return ", without the head for visible tokens" if seen else ""


def _their_class(model: PretrainModel | Classifier, whole: bool) -> str:
    from smile_train.models.heads import Classifier

    if isinstance(model, Classifier):
        return "VideoMAEForVideoClassification"
    return "VideoMAEForPreTraining" if whole else "VideoMAEModel"


def _save_for_hub(model: PretrainModel | Classifier, out: Path) -> None:
    from smile_motion.io.output_folders import new_folder

    with new_folder(out) as temporary:
        model.save_pretrained(temporary)
