"""`python -m regjax` is the command line."""

from regjax_command import main

main()
