"""What a table of results is made of: columns that say what is measured, rows that say of whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from smile_train.evaluation.results import Protocol

MEAN = "mean"
"""Column that is computed from the others: SEVERE's mean."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One measurement."""

    key: str
    """Name within the table."""
    title: str
    """Head of the column."""
    datasets: tuple[str, ...] = ()
    """Data sets, as results name them, that are meant; none for any."""
    protocols: tuple[Protocol, ...] = ("finetune",)
    """Protocols that are meant."""
    metric: str = "top1"
    """Metric that is shown."""
    decimals: int = 1
    """Digits after the point."""
    lower_is_better: bool | None = False
    """Whether less is more; none where neither is."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model."""

    key: str
    """The preset that trains it, or a name from `OTHERS`."""
    label: str
    """What the row is called."""
    published: Mapping[str, float] = field(default_factory=dict)
    """Published numbers by column."""
    source: str = ""
    """Where they come from, where that is not the table's source."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the paper, or a part of one."""

    name: str
    """Such as `Table 4b`."""
    title: str
    """What it shows."""
    columns: tuple[Column, ...]
    """Measurements."""
    rows: tuple[Row, ...]
    """Models."""
    source: str = ""
    """Where the published numbers come from, if there are any."""
    note: str = ""
    """What else must be known to read it."""
