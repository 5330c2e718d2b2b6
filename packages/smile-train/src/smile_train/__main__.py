"""`accelerate launch -m smile_train`; without arguments it pre-trains what suits the machine."""

import sys

from smile_motion.cli.app import Command, end, run_app
from smile_motion.runtime.devices import bound_spinning
from smile_motion.runtime.signals import end_with_launchers, repeat_lost_interrupts

PROGRAM = "smile-train"
COMMANDS = (
    Command("pretrain", "pre-train a video transformer", "smile_train.cli.pretrain"),
    Command("finetune", "fine-tune on labeled videos, and test", "smile_train.cli.finetune"),
    Command("probe strict", "linear probe of cached features", "smile_train.cli.probe:Strict"),
    Command("probe sigma", "linear probe with augmentation", "smile_train.cli.probe:Sigma"),
    Command("probe attentive", "a grid of attentive probes", "smile_train.cli.probe:Attentive"),
    Command("probe knn", "nearest neighbors in cached features", "smile_train.cli.probe:Knn"),
    Command("probe motion", "what encoders know about motion", "smile_train.cli.probe:Motion"),
    Command("explore", "show what an encoder sees, on a page", "smile_train.cli.explore"),
    Command("evaluate severe", "the SEVERE benchmark", "smile_train.cli.evaluate.severe"),
    Command("evaluate similarity", "how features change", "smile_train.cli.evaluate.similarity"),
    Command("evaluate attention", "where an encoder looks", "smile_train.cli.evaluate.attention"),
    Command("evaluate pca", "principal components of features", "smile_train.cli.evaluate.pca"),
    Command("evaluate gains", "classes gained and lost by a run", "smile_train.cli.evaluate.gains"),
    Command("evaluate report", "runs beside the paper's tables", "smile_train.cli.evaluate.report"),
    Command("data list", "check a labeled data set, write manifests", "smile_train.cli.data.list"),
    Command("data check", "find broken videos in a list or folder", "smile_train.cli.data.check"),
    Command("data pack", "re-encode videos for quick reading", "smile_train.cli.data.pack"),
    Command("bench", "measure where the time of a run goes", "smile_train.cli.bench"),
    Command("export", "turn a checkpoint into other formats", "smile_train.cli.export"),
    Command("completion", "print completion for a shell", "smile_motion.cli.completion"),
)


def main() -> None:
    """Run the command line and exit with its code."""
    bound_spinning()
    end_with_launchers()
    repeat_lost_interrupts()
    description = "Self-supervised video pre-training on moving-object clips (SMILE, CVPR 2025)."
    code = run_app(PROGRAM, description, COMMANDS, sys.argv[1:], default="pretrain")
    end(PROGRAM, code)


if __name__ == "__main__":
    main()
