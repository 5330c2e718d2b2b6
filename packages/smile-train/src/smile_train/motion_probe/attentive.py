"""Attentive read-outs: queries that learn where to look in each time slice."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from smile_train.motion_probe.scores import Answers, encode_targets

HEADS = 4
"""Queries."""
VALUES = 8
"""Channels that each takes from what it looks at, whatever the encoder's width."""
HIDDEN = 64
"""Channels of the layer before the answer."""
EPOCHS = 60
"""Most passes over the clips to learn from; the best is chosen."""
BATCH = 64
"""Clips in a step."""
RATE = 5e-3
"""Peak learning rate, after a tenth of the steps, down to nothing along a cosine."""
WEIGHT_DECAY = 0.05
"""AdamW's."""


class _ReadOut(nn.Module):
    """Attention over the places of each slice, then two layers over what was seen and where."""

    places: torch.Tensor

    def __init__(self, slices: int, rows: int, columns: int, channels: int, outputs: int) -> None:
        super().__init__()
        self.queries = nn.Linear(channels, HEADS, bias=False)
        self.preferred = nn.Parameter(torch.zeros(rows * columns, HEADS))
        self.values = nn.Parameter(torch.randn(HEADS, channels, VALUES) / channels**0.5)
        row, column = torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns)
        places = torch.cartesian_prod(row, column).view(-1, 2)
        self.register_buffer("places", places, persistent=False)
        seen = slices * HEADS * (VALUES + 2)
        self.layers = nn.Sequential(
            nn.LayerNorm(seen), nn.Linear(seen, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, outputs)
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Answers: (B, slices, places, D) to (B, outputs)."""
        shares = (self.queries(tokens) + self.preferred).softmax(2)
        looked_at = torch.einsum("bsph,bspd->bshd", shares, tokens)
        what = torch.einsum("bshd,hdv->bshv", looked_at, self.values)
        where = torch.einsum("bsph,pc->bshc", shares, self.places)
        return self.layers(torch.cat([what, where], -1).flatten(1))


def read_attentively(
    learn: np.ndarray,
    choose: np.ndarray,
    test: np.ndarray,
    targets: dict[str, np.ndarray],
    classes: int,
) -> Answers:
    """Train an attentive read-out and ask it about test clips.

    Args:
        learn, choose, test: (n, slices, rows, columns, D): tokens. All are standardized, channel by
            channel, by what `learn` has.
        targets: `learn` and `choose`: (n,) numbers, or classes.
        classes: Number of classes; 0 for a number.

    Returns:
        Answers of the read-out after the epoch that did best on `choose`, which is given as the
        penalty. The same for the same arguments on the same machine.
    """
    wanted = {name: encode_targets(values, classes) for name, values in targets.items()}
    middle, spread = wanted["learn"].mean(0), np.maximum(wanted["learn"].std(0), 1e-6)
    if classes:
        middle, spread = np.zeros(classes), np.ones(classes)
    mean, scale = _channels(learn)
    seen = {"learn": learn, "choose": choose, "test": test}
    tokens = {
        name: torch.from_numpy((values.reshape(*values.shape[:2], -1, len(mean)) - mean) * scale)
        for name, values in seen.items()
    }
    truth = {
        name: torch.from_numpy(((values - middle) / spread).astype(np.float32))
        for name, values in wanted.items()
    }
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        model = _ReadOut(*learn.shape[1:], outputs=truth["learn"].shape[1])
        best, chosen, kept = (float("-inf"), float("-inf")), 0, model.state_dict()
        for epoch in _train(model, tokens["learn"], truth["learn"], classes):
            reached = _reached(_predict(model, tokens["choose"]), truth["choose"], classes)
            if reached > best:
                best, chosen, kept = reached, epoch, copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)
    predicted = _predict(model, tokens["test"])
    if classes:
        answers = predicted.argmax(1).numpy().astype(np.float64)
    else:
        answers = predicted[:, 0].numpy().astype(np.float64) * spread[0] + middle[0]
    return Answers(predicted=answers, penalty=chosen)


def _channels(learn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale of each channel, (D,) float32."""
    flat = learn.reshape(-1, learn.shape[-1]).astype(np.float32)
    return flat.mean(0), 1 / np.maximum(flat.std(0), 1e-6)


def _train(
    model: _ReadOut, tokens: torch.Tensor, truth: torch.Tensor, classes: int
) -> Iterator[int]:
    """Train; yields the number of each epoch when it ends, from 1."""
    steps = EPOCHS * -(-len(tokens) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=steps, pct_start=0.1
    )
    for epoch in range(1, EPOCHS + 1):
        model.train()
        for own in torch.randperm(len(tokens)).split(BATCH):
            loss = _loss(model(tokens[own]), truth[own], classes)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        yield epoch


def _loss(answers: torch.Tensor, truth: torch.Tensor, classes: int) -> torch.Tensor:
    return F.cross_entropy(answers, truth) if classes else F.mse_loss(answers, truth)


@torch.no_grad()
def _predict(model: _ReadOut, tokens: torch.Tensor) -> torch.Tensor:
    model.eval()
    return torch.cat([model(part) for part in tokens.split(4 * BATCH)])


def _reached(answers: torch.Tensor, truth: torch.Tensor, classes: int) -> tuple[float, float]:
    """Share of right answers, where there are classes, and what tells equal shares apart."""
    loss = -float(_loss(answers, truth, classes))
    right = float((answers.argmax(1) == truth.argmax(1)).float().mean()) if classes else 0.0
    return right, loss
