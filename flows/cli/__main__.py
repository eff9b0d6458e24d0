"""`python -m flows.cli` is the command `vidrd`."""

from flows.cli.app import main

main()
