"""Fine-tuning on Ray Train: the UNet's temporal layers, then those of the decoder."""
