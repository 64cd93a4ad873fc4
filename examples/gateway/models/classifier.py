"""A picture model: logistic regression over the 8 x 8 handwritten digits that scikit-learn ships."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from examples.gateway.models.pictures import Grey, grey

ID = "digits"
DESCRIPTION = "a toy: logistic regression that reads one handwritten digit of 8 x 8 pixels, trained at start"
TRAINED_ON = "five of six digits of scikit-learn's load_digits (UCI, 8 x 8 pixels)"
_MOST = 16.0  # ink in a pixel of the data


class Label(NamedTuple):
    """A digit, and how probable the model holds it, 0 to 1."""

    label: str
    probability: float


class Digits:
    """Says which digit a picture shows."""

    def __init__(self, fitted: Any) -> None:
        self._fitted = fitted
        self.vocabulary = len(fitted.classes_)

    def labels(self, data: bytes) -> list[Label]:
        """All ten digits, the most probable first; raises ``InputUnreadable`` for what is no picture."""
        return self.labels_of(grey(data))

    def labels_of(self, ink: Grey) -> list[Label]:
        """The same of 64 numbers from 0 to 1."""
        probabilities = self._fitted.predict_proba(ink.reshape(1, -1))[0]
        order = np.argsort(-probabilities, kind="stable")
        return [Label(str(self._fitted.classes_[index]), float(probabilities[index])) for index in order]


def train() -> Digits:
    """The model, from data that scikit-learn ships: about a second."""
    ink, digits, is_kept_back = _data()
    return Digits(LogisticRegression(max_iter=300).fit(ink[~is_kept_back], digits[~is_kept_back]))


def unseen(digit: int) -> Grey:
    """A picture of this digit, 0 to 9, that the model was not trained on."""
    ink, digits, is_kept_back = _data()
    found: Grey = ink[is_kept_back & (digits == digit)][0]
    return found


def accuracy(model: Digits) -> float:
    """The share of the digits not trained on that it reads right."""
    ink, digits, is_kept_back = _data()
    read = [model.labels_of(one)[0].label == str(digit) for one, digit in zip(ink, digits, strict=True)]
    return float(np.mean(np.asarray(read)[is_kept_back]))


def _data() -> tuple[Any, Any, Any]:
    """Ink, digits, and which of them the model is not trained on."""
    ink, digits = load_digits(return_X_y=True)
    return ink / _MOST, digits, np.arange(len(digits)) % 6 == 0
