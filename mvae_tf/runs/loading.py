"""The data that a run's configuration names."""

from mvae_tf import data
from mvae_tf.config import RunConfig

__all__ = ["load_data"]


def load_data(config: RunConfig) -> data.Splits:
    """Loads the data of a run.

    Args:
        config: its configuration.

    Returns:
        The three parts, in batches of the run's size and in the order of its seed.

    Raises:
        ValueError: an argument of the data is unknown or has an impossible value.
        OSError: a file is missing or damaged.
    """
    size = config.training.batch_size
    try:
        return data.load(**config.data, batch_size=size, seed=config.seed)
    except TypeError as error:
        # The arguments come from a file or the command line: a user's mistake.
        raise ValueError(str(error)) from error
