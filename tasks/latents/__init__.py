"""Clips into the autoencoder's latent space, once, for all training to come."""
