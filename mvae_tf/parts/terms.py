"""Terms of an objective, declared once, where a model is constructed."""

import math
import numbers
import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

import tensorflow as tf

__all__ = ["Term", "check_terms", "checked_weights", "kl_names"]


# The number of axes of a term.
_RANKS = {"example": 1, "batch": 0}

# Columns of the history of a run, which are no terms.
_TAKEN = ("epoch", "loss", "skipped_steps")


class Term(NamedTuple):
    """The declaration of one term of an objective.

    Attributes:
        weight: float, weight of the term in the objective that is minimised; None for a
            diagnostic, which is logged and not minimised.
        warmup: bool, whether the weight grows from 0 during a KL warm-up.
        per: "example" for a term `[B]`, which has a value for each example; "batch" for
            a scalar of the global batch as a whole. A scalar that depends on latents
            has to be computed from those of all replicas (`gather_rows`), so that all
            replicas have the same value.
    """

    weight: float | None = 1.0
    warmup: bool = False
    per: Literal["example", "batch"] = "example"


def checked_weights(terms: Mapping[str, Term]) -> dict[str, float]:
    """Return a dict of the weights of the terms that are minimised.

    Raises:
        ValueError: on something else than a `Term`, on a name that logs cannot hold,
            and on a weight that is negative or no finite number.
    """
    for key, term in terms.items():
        plain = isinstance(key, str) and re.fullmatch(r"[A-Za-z]\w*", key)
        if not plain or key in _TAKEN or key.startswith("val_"):
            raise ValueError(
                "Expected a name of a term in letters, digits and underscores, other "
                f"than {', '.join(_TAKEN)} and val_..., got {key!r}."
            )
        if not isinstance(term, Term) or term.per not in _RANKS:
            raise ValueError(
                f"Expected a Term per {' or per '.join(_RANKS)} for {key!r}, got "
                f"{term!r}."
            )
    weights = {k: term.weight for k, term in terms.items() if term.weight is not None}
    for key, value in weights.items():
        if not isinstance(value, numbers.Real) or not math.isfinite(value):
            raise ValueError(f"Expected a finite weight of {key}, got {value!r}.")
        if value < 0:
            raise ValueError(
                f"Expected a weight of {key} that is 0 or more, got {value!r}, with "
                "which training would make the term larger."
            )
    return {key: float(value) for key, value in weights.items()}


def kl_names(terms: Mapping[str, Term]) -> list[str]:
    """Return the names of the KL terms: "kl", and the others that have a warm-up."""
    return [key for key, term in terms.items() if key == "kl" or term.warmup]


def check_terms(
    values: Mapping[str, tf.Tensor], terms: Mapping[str, Term], x: tf.Tensor
) -> None:
    """Check that `loss_terms` returned the terms that the model declares.

    Args:
        values: what `loss_terms` returned.
        terms: dict, what the model declares.
        x: `[B, ...]` images.

    Raises:
        ValueError: a term is missing, not declared, or of another shape.
    """
    if set(values) != set(terms):
        raise ValueError(
            f"Expected loss_terms to return the declared terms {sorted(terms)}, "
            f"got {sorted(values)}."
        )
    for key, term in terms.items():
        expected = tf.TensorShape(x.shape[: _RANKS[term.per]])
        found = tf.convert_to_tensor(values[key]).shape
        other = found.is_fully_defined() and found != expected
        if other or found.rank not in (None, expected.rank):
            raise ValueError(
                f"Expected term {key!r} per {term.per}, a tensor of shape "
                f"{'[B]' if expected.rank else '[]'}, got {found.as_list()}."
            )
