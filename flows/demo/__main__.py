"""Runs the demo."""

from flows.demo.job import main

main()
