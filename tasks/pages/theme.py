"""Names the colours of every page and chart: in a page they are CSS variables, in light and in dark."""

LIGHT = {
    "paper": "#fbfaf7",
    "ink": "#1c1d20",
    "soft": "#62656c",
    "rule": "#dcd9d1",
    "fill": "#efede7",
    "right": "#2f67b8",
    "wrong": "#c9642c",
    "third": "#147a68",
    "fourth": "#8a4a9e",
    "plain": "#808da4",
}
DARK = {
    "paper": "#131417",
    "ink": "#e8e7e3",
    "soft": "#9da0a8",
    "rule": "#2f3138",
    "fill": "#1d1f24",
    "right": "#78a5ec",
    "wrong": "#ec955a",
    "third": "#4fb8a2",
    "fourth": "#c08fd2",
    "plain": "#6b7790",
}
