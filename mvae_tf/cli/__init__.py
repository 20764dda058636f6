"""The command line, `python -m mvae_tf`, installed also as `mvae-tf`."""

from mvae_tf.cli.app import main

__all__ = ["main"]
