"""Make the gallery's pictures anew; the same as `viztool gallery`."""

import sys

from viztool.cli import main

main(["gallery", *sys.argv[1:]])
