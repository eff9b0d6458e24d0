"""What a retraining shows its operator: one page of Markdown."""

from __future__ import annotations

from typing import Any

from tasks import markdown


def as_markdown(result: dict[str, Any]) -> str:
    """Returns the page of a retraining that was carried out: its model, its figures by part, and what they rest on."""
    model = markdown.text(result.get("reason", ""))
    if result["registered"]:
        model = f"{markdown.code(result['model'])} ({result['alias']})"
    lines = [
        f"{model}, trained on {markdown.code(result['dataset'] + '@' + result['dataset_tag'])}",
        "",
    ]
    head = ("part", "steps", "seconds", "first loss", "last loss", "held-out: fresh", "base", "candidate")
    rows = []
    for part, figures in result["parts"].items():
        heldout = [f"{figures['heldout'][whose]['loss']:.4f}" for whose in ("fresh", "base", "candidate")]
        losses = [f"{figures[name]:.4f}" for name in ("first_loss", "last_loss")]
        cells = [part, str(figures["steps"]), f"{figures['seconds']:.0f}", *losses, *heldout]
        rows.append(cells)
    lines += markdown.table(head, rows, numbers=True)
    sources = {part: figures["heldout_source"] for part, figures in result["parts"].items()}
    lines += ["", *(f"Held out for {part}: {markdown.text(source)}." for part, source in sources.items())]
    left_out = [part for part, figures in result["parts"].items() if not figures["kept"]]
    lines += [f"The {part} came out no better than it was and was left out." for part in left_out]
    return "\n".join(lines) + "\n"
