"""The history of a run: one row per epoch, and what it says about going on.

Nothing here imports TensorFlow.
"""

import csv
import io
import math
from pathlib import Path

from mvae_tf import storage

__all__ = ["divergence", "early_stopping", "read_history", "write_history"]

# Nats of loss for each value of an image, above which a run counts as diverged.
_DIVERGED = 1e6


def read_history(folder):
    """Rows of `history.csv`, a list of dicts, one per epoch.

    It is empty for a run that has not finished an epoch.

    Raises:
        FileNotFoundError: the file is missing, though the run has trained.
        mvae_tf.storage.DamagedFile: the file is damaged.
    """
    path = Path(folder) / "history.csv"
    if not path.is_file():
        if (path.parent / "model.keras").is_file():
            raise FileNotFoundError(
                f"expected {path} beside the model of the run, found none: `train "
                "--resume` writes it again from the checkpoints"
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


def write_history(output, history):
    """Writes rows, one per epoch, as `history.csv`; without rows, removes the file."""
    path = output / "history.csv"
    if not history:
        storage.remove(path)
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    storage.write_text(path, text.getvalue())


def early_stopping(history, settings, input_shape=()):
    """Best epoch so far, and whether training should stop.

    The rule of the VampPrior experiments, as a function of the history alone, so that a
    resumed run stops where an undisturbed one does. A run that has diverged stops, too.

    Args:
        history: rows of `history.csv`.
        settings: `mvae_tf.config.Training`, whose `patience` and `warmup_epochs` count.
        input_shape: shape of an image, for `divergence`.

    Returns:
        `(best_epoch, stopped)`: the epoch, counted from 1, of the lowest validation
        loss, 0 before the first, without `patience`, and while none was a number; and
        whether more than `patience` epochs after the warm-up have passed since.
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


def divergence(history, input_shape):
    """What to say of a run that has diverged; an empty text for one that has not.

    A run has diverged when the training loss of an epoch is not finite, or above 10^6
    nats for each value of an image, which no likelihood of this library gives to images
    in its range. The rule looks at the history alone, as `early_stopping` does.

    Args:
        history: rows of `history.csv`.
        input_shape: shape of an image.

    Returns:
        One line that names the first such epoch, or "".
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
