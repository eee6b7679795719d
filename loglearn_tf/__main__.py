"""`python -m loglearn_tf`, the same as `loglearn`."""

import sys

from loglearn_tf.cli import main

if __name__ == "__main__":
    sys.exit(main())
