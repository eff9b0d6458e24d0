"""Options that several commands take."""

from __future__ import annotations

from typing import Annotated

import typer

_MODELS = "A folder, models:/vidrd@champion, models:/vidrd/3 or a hub's OWNER/NAME; by default"

ModelProfileOption = Annotated[
    str | None, typer.Option("--profile", metavar="NAME|FILE", help="By default the model's own, else tiny.")
]
DatasetProfileOption = Annotated[
    str | None,
    typer.Option("--profile", metavar="NAME|FILE", help="By default that of the dataset's last build."),
]
CandidateOption = Annotated[str | None, typer.Option(metavar="REF", help=f"{_MODELS} the candidate.")]
ChampionOption = Annotated[
    str | None, typer.Option(metavar="REF", help=f"{_MODELS} the champion, else the profile's own.")
]
VersionOption = Annotated[
    str | None, typer.Option(metavar="REF", help="models:/vidrd/3, say; by default the candidate.")
]
AllowEmptyOption = Annotated[
    bool, typer.Option("--allow-empty", help="Even where that leaves no clip of a dataset that has some.")
]
