"""Makes every HTML page of the project; each carries its pictures, charts and videos with it."""
