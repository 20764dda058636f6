"""Reasons not to trust the numbers of a run."""

from collections.abc import Mapping, Sequence
from typing import Any

from mvae_tf.evaluation.audit import suspects
from mvae_tf.runs import history as records

__all__ = ["divergence", "of_numbers"]

_FEW_DRAWS = 10
# Numbers that are finite for every model that has not diverged.
_ALWAYS_FINITE = ("sse", "elbo", "log_likelihood")


def divergence(
    history: Sequence[Mapping[str, float]],
    results: Mapping[str, Any],
    input_shape: Sequence[int],
) -> str:
    """Say how a run diverged, judged by its history and by its test numbers.

    Args:
        history: list of rows of `history.csv`.
        results: dict, numbers of `metrics.json`, in which None stands for a number that
            is not finite.
        input_shape: list of ints, shape of an image.

    Returns:
        One line; an empty text for a run that did not diverge.
    """
    found = records.divergence(history, input_shape)
    if found:
        return found
    for name in _ALWAYS_FINITE:
        if name in results and results[name] is None:
            return f"the run diverged: its {name} of the test images is not finite"
    return ""


def of_numbers(results: Mapping[str, Any], diverged: str = "") -> dict[str, str]:
    """Find the test numbers that are not to be trusted.

    Args:
        results: dict, numbers of `metrics.json`, the audit included.
        diverged: what `divergence` returned.

    Returns:
        Dict from the name of a number to the reason, in a few words.
    """
    if diverged:
        return {name: "the run diverged" for name in results if name != "audit"}
    reasons = {name: "fails the audit" for name in suspects(results)}
    draws = results.get("log_likelihood_ess")
    if draws is not None and draws < _FEW_DRAWS:
        reason = f"effective sample size of {draws:.2g}: likely too low"
        reasons.setdefault("log_likelihood", reason)
        reasons.setdefault("bits_per_dim", reason.replace("too low", "too high"))
    return reasons
