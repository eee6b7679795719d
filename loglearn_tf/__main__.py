"""`python -m loglearn_tf`: the command line."""

import sys

from loglearn_tf.cli import main

if __name__ == "__main__":
    sys.exit(main())
