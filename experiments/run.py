"""Script form of `loglearn run`: `python experiments/run.py experiments/us8k.yaml key=value ...`."""

import sys

from loglearn_tf.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
