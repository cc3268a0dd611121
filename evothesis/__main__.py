"""`python -m evothesis` is `evothesis`."""

from evothesis.cli import main

main()
