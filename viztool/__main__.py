"""`python -m viztool`."""

from viztool.cli import main

main(prog_name="viztool")
