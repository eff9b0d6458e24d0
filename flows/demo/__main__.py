"""Runs the demo."""

import sys

from flows.demo.job import main

sys.exit(main())
