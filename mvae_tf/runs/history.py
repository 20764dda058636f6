"""The history of a run, one row per epoch, and whether it says that training must stop.

Nothing here imports TensorFlow.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mvae_tf import storage
from mvae_tf.config import Training

__all__ = [
    "divergence",
    "early_stopping",
    "read_history",
    "read_metrics",
    "read_times",
    "write_history",
]

# A run counts as diverged above this loss, in nats per value of an image.
_DIVERGED = 1e6


def read_history(folder: str | Path) -> list[dict[str, float]]:
    """Read `history.csv`.

    Args:
        folder: path of the run folder.

    Returns:
        List of rows, one dict per epoch; empty for a run that has not finished an
        epoch.

    Raises:
        FileNotFoundError: the file is missing, though the run is finished.
        mvae_tf.storage.DamagedFile: the file is damaged.
    """
    path = Path(folder) / "history.csv"
    if not path.is_file():
        if (path.parent / "model.keras").is_file():
            raise FileNotFoundError(
                f"Expected {path} beside the model of the run, got none: `train "
                "--resume` writes it again from the checkpoints."
            )
        return []
    storage.verify(path)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                {key: float(value) for key, value in row.items()}
                for row in csv.DictReader(file, strict=True)
            ]
    except (TypeError, ValueError, csv.Error) as error:
        raise storage.DamagedFile(f"{path} is no table of numbers: {error}") from error


def write_history(output: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write `history.csv`, or remove it where there are no rows.

    Args:
        output: path of the run folder.
        history: list of rows, one per epoch, which all have the same keys.
    """
    path = output / "history.csv"
    if not history:
        storage.remove(path)
        return
    storage.write_csv(path, history)


def early_stopping(
    history: Sequence[Mapping[str, float]],
    settings: Training,
    input_shape: Sequence[int] = (),
) -> tuple[int, bool]:
    """Find the best epoch so far, and decide whether training should stop.

    The rule is that of the VampPrior experiments. It depends on the history alone, so
    that a resumed run stops at the same epoch as one that was not interrupted. A run
    that has diverged stops, too.

    Args:
        history: list of rows of `history.csv`.
        settings: `Training`, settings of the training loop, of which `patience` and
            `warmup_epochs` are used.
        input_shape: list of ints, shape of an image, for `divergence`.

    Returns:
        `(best_epoch, stopped)`. `best_epoch`, counted from 1, has the lowest validation
        loss; it is 0 without `patience` and while no validation loss was a number.
        `stopped` tells whether the run has diverged, or more than `patience` epochs
        have passed since the best epoch or, if that is later, the end of the warm-up.
    """
    diverged = bool(divergence(history, input_shape))
    if not settings.patience or not history:
        return 0, diverged
    losses = [row.get("val_loss", math.nan) for row in history]
    losses = [math.inf if math.isnan(loss) else loss for loss in losses]
    best = min(range(len(losses)), key=losses.__getitem__)
    waited = len(losses) - max(best + 1, settings.warmup_epochs - 1)
    found = best + 1 if losses[best] < math.inf else 0
    return found, diverged or waited > settings.patience


def divergence(
    history: Sequence[Mapping[str, float]], input_shape: Sequence[int]
) -> str:
    """Describe the divergence of a run, if it has diverged.

    A run has diverged when the training loss of an epoch is not finite, or is above
    10^6 nats per value of an image, which no likelihood of this library gives to images
    in its range. The rule depends on the history alone, as that of `early_stopping`.

    Args:
        history: list of rows of `history.csv`.
        input_shape: list of ints, shape of an image.

    Returns:
        One line that names the first epoch with such a loss; an empty text for a run
        that has not diverged.
    """
    limit = _DIVERGED * math.prod(input_shape)
    for row in history:
        loss = row.get("loss", 0.0)
        if not abs(loss) <= limit:
            beyond = f"{loss:.3g} nats per image, which is beyond {limit:.1g}"
            return (
                f"the run diverged in epoch {row['epoch']:g}: its loss is "
                f"{beyond if math.isfinite(loss) else 'not finite'}; a lower "
                "learning_rate may help"
            )
    return ""


def read_metrics(folder: str | Path) -> dict[str, Any]:
    """Return what `metrics.json` of a run holds; an empty dict if there is no file.

    Args:
        folder: path of the run folder.

    Returns:
        Dict with "test", a dict of numbers by name, and "step".

    Raises:
        mvae_tf.storage.DamagedFile: the file is damaged, or holds something else.
    """
    return _read_record(Path(folder) / "metrics.json", "numbers by name", test=dict)


def read_times(folder: str | Path) -> dict[str, Any]:
    """Return what `times.json` of a run holds; an empty dict if there is no file.

    Args:
        folder: path of the run folder.

    Returns:
        Dict with "started" and "device", texts, and "training_seconds".

    Raises:
        mvae_tf.storage.DamagedFile: the file is damaged, or holds something else.
    """
    kinds = {"started": str, "training_seconds": int | float, "device": str}
    return _read_record(Path(folder) / "times.json", "times of a run", **kinds)


def _read_record(path, what, **kinds):
    """Return a dict from a JSON file, in which the values of some keys have kinds."""
    if not path.is_file():
        return {}
    values = storage.read_json(path)
    if not isinstance(values, dict) or any(
        not isinstance(values.get(key), kind) for key, kind in kinds.items()
    ):
        raise storage.DamagedFile(f"{path} holds no {what}")
    return values
