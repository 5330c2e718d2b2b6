"""`from_pretrained` of our models: sizes are checked before one is built, and no weight is lost.

huggingface_hub builds whatever a configuration says, and leaves weights that are missing random.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid

from smile_train.models.config import StudentConfig

_ROWS = (
    ("target_dim", "decoder.head.weight"),
    ("motion_dim", "tracker_decoder.head.weight"),
    ("classes", "head.weight"),
)
"""Options of models, and the weights that have as many rows."""
WEIGHTS = "model.safetensors"
"""Where `save_pretrained` writes them."""


class StrictLoading:
    """Loads a model's weights from a folder or the hub, through the door to weights of others."""

    weights_prefix: ClassVar[str] = ""
    """Before the encoder's names."""

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        student: StudentConfig,
        grid: TokenGrid,
        map_location: str = "cpu",
        strict: bool = True,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        **options: Any,
    ) -> Self:
        """What huggingface_hub's `from_pretrained` calls once it has read `config.json`.

        Raises:
            InputError: Weights are missing or unknown, or are not of the sizes.
        """
        from smile_train.checkpoints.configs import require_sizes
        from smile_train.checkpoints.published import load_weights
        from smile_train.checkpoints.weight_files import read_weights

        path = Path(model_id) / WEIGHTS
        if not path.is_file():
            from huggingface_hub import hf_hub_download

            path = Path(
                hf_hub_download(
                    model_id,
                    WEIGHTS,
                    revision=revision,
                    cache_dir=cache_dir,
                    force_download=force_download,
                    local_files_only=local_files_only,
                    token=token,
                )
            )
        weights = read_weights(path)
        require_sizes(student, weights, path, prefix=cls.weights_prefix)
        for option, name in _ROWS:
            rows = len(weights[name]) if name in weights else 0
            if option in options and options[option] != rows:
                raise InputError(
                    f"{path}: its configuration says {option} {options[option]}, its {name} has "
                    f"{rows} rows; get both again from one place"
                )
        model: Any = cls(student=student, grid=grid, **options)  # type: ignore[call-arg]
        if strict:
            load_weights(model, weights, path)
        else:
            model.load_state_dict(weights, strict=False)
        return model.to(map_location).eval()
