"""`python -m tilegen` is `tilegen`."""

from tilegen.cli.main import main

main(prog_name="tilegen")
