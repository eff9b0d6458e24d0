"""What `vidrd dataset` looks into: counts, the cost of a larger corpus, the report."""
