"""`vidrd doctor`: whether this machine and its servers are as commands need them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from flows.cli.answer import answer
from flows.cli.common import given
from flows.terminal import FAINT, PLAIN, STRONG, tell_styled


def doctor(
    profile: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="Whose models are looked for.", show_default=True)
    ] = "tiny",
) -> None:
    """Looks at this machine and its servers, and says what to do about what they lack.

    Python, packages, ffmpeg, GPUs, memory, disks, ports, proxies, the profile's models, weights, and the servers that
    are set: a file is written where runs keep theirs, read back and deleted. Exit code 1 when a problem would end
    commands; notes are for what only some of them need.

    \b
    Example: vidrd doctor --profile sd21
    """
    from flows.doctor.examine import examine
    from flows.profile import load_profile

    findings = []
    for finding in examine(load_profile(profile, given().changes)):
        findings.append(finding)
        if not given().as_json:
            tell_styled(_line(finding.about, finding.state, finding.found), error=False)
            if finding.do:
                tell_styled([(" " * 28, PLAIN), (finding.do, STRONG)], error=False)
    problems = [finding.about for finding in findings if finding.state == "problem"]
    if given().as_json:
        answer(
            {"problems": len(problems), "findings": [asdict(finding) for finding in findings]},
            ok=not problems,
        )
    else:
        tell_styled([(_verdict(problems), STRONG)], error=False)
    raise typer.Exit(int(bool(problems)))


def _line(about: str, state: str, found: str) -> list[tuple[str, str]]:
    style = FAINT if state == "ok" else STRONG
    return [(f"{state:8} ", style), (f"{about:18} ", PLAIN), (found, PLAIN)]


def _verdict(problems: list[str]) -> str:
    if not problems:
        return "nothing here keeps vidrd from its work"
    return f"{len(problems)} to mend first: {', '.join(problems)}"
