"""`python -m regjax` is the command line."""

from regjax.cli import main

main()
