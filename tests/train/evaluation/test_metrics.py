"""Scores, against scikit-learn and against laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    confusion_matrix,
    top_k_accuracy_score,
)
from smile_motion.errors import InputError
from smile_train.evaluation.metrics import (
    average_precision,
    classification_metrics,
    confusion,
    counting_errors,
    hits,
    multi_label_metrics,
    per_class,
)


@given(st.integers(0, 2**32), st.integers(3, 12), st.integers(20, 80))
def test_classification_scores_are_those_of_scikit_learn(seed: int, classes: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.random((n, classes))
    labels = np.concatenate([np.arange(classes), rng.integers(classes, size=n - classes)])
    metrics = classification_metrics(scores, labels)
    numbers = np.arange(classes)
    for name, k in (("top1", 1), ("top5", 5)):
        expected = (
            1.0 if k >= classes else top_k_accuracy_score(labels, scores, k=k, labels=numbers)
        )
        assert metrics[name] == pytest.approx(100 * expected)
        shares = [hits(scores[labels == c], labels[labels == c], k).mean() for c in numbers]
        assert metrics[f"mean_class_{name}"] == pytest.approx(100 * np.mean(shares))
    assert metrics["mean_class_top1"] == pytest.approx(
        100 * balanced_accuracy_score(labels, scores.argmax(1))
    )
    assert (confusion(scores, labels) == confusion_matrix(labels, scores.argmax(1))).all()


@given(st.integers(0, 2**32), st.booleans())
def test_average_precision_is_that_of_scikit_learn(seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(4, size=(40, 3)) / 4 if ties else rng.random((40, 3))
    marks = (rng.random((40, 3)) < 0.3).astype(np.float32)
    marks[0] = 1
    expected = [100 * average_precision_score(marks[:, c], scores[:, c]) for c in range(3)]
    assert average_precision(scores, marks) == pytest.approx(expected)


@pytest.mark.parametrize("value", [0.0, np.nan])
@pytest.mark.parametrize("name", ["top1", "mean_class_top1"])
def test_a_constant_prediction_or_none_is_not_right_by_its_order(value: float, name: str) -> None:
    metrics = classification_metrics(np.full((6, 4), value), np.array([0, 0, 0, 1, 2, 3]))
    assert metrics[name] == 0


def test_scores_of_a_class_are_those_of_its_samples() -> None:
    found = per_class(np.array([True, False, True]), np.array([0, 0, 3]), 4)
    assert found.tolist() == pytest.approx([50, np.nan, np.nan, 100], nan_ok=True)


def test_a_class_without_samples_does_not_count() -> None:
    scores = np.eye(4)[[0, 1, 1]]
    assert classification_metrics(scores, np.array([0, 1, 1]))["mean_class_top1"] == 100
    marks = np.array([[1, 0], [1, 0]], np.float32)
    assert multi_label_metrics(np.array([[0.9, 0.2], [0.8, 0.1]]), marks)["map"] == 100


def test_counting_errors_are_shares_of_the_count() -> None:
    found = counting_errors(np.array([5.4, 8.0]), np.array([6.0, 4.0]))
    assert found == {"mae": pytest.approx((0.1 + 1) / 2), "off_by_one": 50}
    with pytest.raises(InputError, match="count 0"):
        counting_errors(np.array([1.0]), np.array([0.0]))
