"""Learning rates and parameter groups as laws; the published values are in test_parity."""

from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st
from smile_motion.tokens import TokenGrid
from smile_train.config.pretrain import PretrainConfig
from smile_train.models.config import StudentConfig
from smile_train.models.mae import PretrainModel
from smile_train.training.metrics_logger import MetricsLogger
from smile_train.training.optim import parameter_groups, warmup_cosine
from smile_train.training.state import RunState

SMALL = StudentConfig(width=16, depth=1, heads=2, decoder_width=8, decoder_depth=1, decoder_heads=1)


@given(
    steps=st.integers(1, 300),
    warmup=st.integers(0, 300),
    base=st.floats(1e-5, 1.0),
    share=st.floats(0, 1),
)
def test_the_rate_rises_to_the_peak_then_falls_towards_the_end(
    steps: int, warmup: int, base: float, share: float
) -> None:
    final = base * share
    rates = warmup_cosine(base, final, steps, warmup)
    rising = min(warmup, steps)
    assert rates.shape == (steps,)
    assert (rates >= 0).all()
    assert (rates <= base * (1 + 1e-12)).all()
    assert (np.diff(rates[:rising]) >= 0).all()
    assert (np.diff(rates[rising:]) <= 1e-15).all()
    if rising < steps:
        assert np.isclose(rates[rising], base)
        assert rates[-1] >= final * (1 - 1e-12)
    if rising:
        assert rates[0] == 0


def test_every_parameter_is_in_one_group_and_only_matrices_decay() -> None:
    model = PretrainModel(SMALL, TokenGrid(frames=2, height=32, width=32), 4)
    groups = parameter_groups(model, 0.05)
    placed = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(placed) == sorted(id(parameter) for parameter in model.parameters())
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for group in groups:
        for parameter in group["params"]:
            matrix = parameter.ndim > 1 and names[id(parameter)] != "mask_token"
            assert group["weight_decay"] == (0.05 if matrix else 0.0), names[id(parameter)]


def test_frozen_parameters_are_left_out() -> None:
    model = PretrainModel(SMALL, TokenGrid(frames=2, height=32, width=32), 4)
    model.encoder.requires_grad_(False)
    placed = {
        id(parameter) for group in parameter_groups(model, 0.1) for parameter in group["params"]
    }
    assert placed == {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    assert all(isinstance(parameter, torch.nn.Parameter) for parameter in model.parameters())


def test_a_run_that_began_with_the_plain_optimizer_goes_on_with_it(tmp_path: Path) -> None:
    """Checkpoints of release 0.2 and before, of runs on a CPU."""
    grid, config = TokenGrid(frames=2, height=32, width=32), PretrainConfig(save_every=1)
    gradients = torch.Generator().manual_seed(0)

    def begin(*, fused: bool) -> RunState:
        model = PretrainModel(SMALL, grid, 4)
        return RunState(
            config=config,
            described=config.to_json(),
            inputs={},
            out=tmp_path,
            accelerator=Accelerator(cpu=True),
            model=model,
            optimizer=torch.optim.AdamW(parameter_groups(model, 0.05), lr=0.01, fused=fused),
        )

    def step(*states: RunState) -> None:
        for values in zip(*(state.model.parameters() for state in states), strict=True):
            gradient = torch.randn(values[0].shape, generator=gradients)
            for value in values:
                value.grad = gradient.clone()
        for state in states:
            state.optimizer.step()

    report = MetricsLogger(tmp_path, 2, quiet=True)
    begun, resumed = begin(fused=False), begin(fused=True)
    step(begun)
    begun.keep(1)
    resumed.resume(report)
    for _ in range(3):
        step(begun, resumed)
    for one, other in zip(begun.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)
