"""The build: corpora in, a versioned dataset out, all stages overlapped on Ray; `run.build` is the way in."""
