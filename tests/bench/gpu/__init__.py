"""What a GPU is measured by, in four parts of a few minutes: `python -m tests.bench.gpu PART`."""
