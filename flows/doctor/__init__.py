"""`vidrd doctor`: what this machine and its servers offer, and what to do about what they lack."""
