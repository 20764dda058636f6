"""The entry of the command line, `python -m mvae_tf`."""

import sys

from mvae_tf.cli import main

if __name__ == "__main__":
    sys.exit(main())
