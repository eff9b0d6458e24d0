"""Text to video: sampling on Ray, mp4 files and contact sheets."""
