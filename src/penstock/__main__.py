"""Lets `python -m penstock` do what the command does."""

from penstock.cli.main import main

main()
