"""Train from a checkout: the same as ``medups train``, with the same hydra overrides."""

import sys

from medups.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
