"""What an operator starts: a folder per flow, and the `vidrd` command over the same flows."""
