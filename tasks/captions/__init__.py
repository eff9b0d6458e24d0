"""Do frames and caption agree? CLIP scores every clip, a threshold decides."""
