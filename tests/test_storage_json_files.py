"""Attacks the JSON that is printed and stored: any reader takes it, whatever the numbers are."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.cli.answer import answer
from flows.cli.common import given as typed
from storage.local.json_files import read_json, to_json, write_json

ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.tuples(inner, inner), st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=20,
)


def strictly(text: str) -> Any:
    """What a reader makes of it that knows the standard and no more."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    return json.loads(text, parse_constant=refuse)


def as_standard(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [as_standard(inner) for inner in value]
    if isinstance(value, dict):
        return {name: as_standard(inner) for name, inner in value.items()}
    return value


@given(ANYTHING)
def test_what_has_no_name_in_json_is_null_and_all_else_is_kept(value):
    assert strictly(to_json(value)) == as_standard(value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=ANYTHING)
def test_files_and_the_terminal_get_the_same(value, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_json(tmp_path / "a.json", {"a": value})
    assert (
        strictly((tmp_path / "a.json").read_text())
        == as_standard({"a": value})
        == read_json(tmp_path / "a.json")
    )
    typed().as_json = True
    answer({"a": value})
    typed().as_json = False
    assert strictly(capsys.readouterr().out)["result"] == as_standard({"a": value})


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": [math.inf]})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert read_json(path) == {"a": [None]}
