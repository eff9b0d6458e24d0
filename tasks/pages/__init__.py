"""The report of a run: one HTML page that carries its pictures, charts and videos with it."""
