"""Terms of an objective, declared once, where a model is constructed."""

import math
import numbers
from collections.abc import Mapping
from typing import Literal, NamedTuple

import tensorflow as tf

__all__ = ["Term", "check_terms", "checked_weights", "kl_names"]


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
        ValueError: on a weight that is not a finite number.
    """
    weights = {k: term.weight for k, term in terms.items() if term.weight is not None}
    for key, value in weights.items():
        if not isinstance(value, numbers.Real) or not math.isfinite(value):
            raise ValueError(f"Expected a finite weight of {key}, got {value!r}.")
    return {key: float(value) for key, value in weights.items()}


def kl_names(terms: Mapping[str, Term]) -> list[str]:
    """Return the names of the KL terms: "kl", and the others that have a warm-up."""
    return [key for key, term in terms.items() if key == "kl" or term.warmup]


def check_terms(values: Mapping[str, tf.Tensor], terms: Mapping[str, Term]) -> None:
    """Check that `loss_terms` returned the terms that the model declares.

    Args:
        values: what `loss_terms` returned.
        terms: dict, what the model declares.

    Raises:
        ValueError: a term is missing, not declared, or of another rank.
    """
    if set(values) != set(terms):
        raise ValueError(
            f"Expected loss_terms to return the declared terms {sorted(terms)}, "
            f"got {sorted(values)}."
        )
    for key, term in terms.items():
        rank = {"example": 1, "batch": 0}[term.per]
        found = tf.convert_to_tensor(values[key]).shape.rank
        if found not in (None, rank) and term.weight is not None:
            raise ValueError(
                f"Expected term {key!r} per {term.per}, a tensor of rank {rank}, "
                f"got rank {found}."
            )
