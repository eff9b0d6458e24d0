"""The paper's experiments: variants of sampling, measured alike and set side by side."""
