"""What a larger corpus would cost: the build's own stages on a sample, then arithmetic."""
