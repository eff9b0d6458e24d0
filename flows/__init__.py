"""What an operator reads: one file per flow, and the `vidrd` command over the same flows."""
