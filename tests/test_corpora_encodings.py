"""Words in every file that holds some: told from their bytes by one rule, stated, or quarantined by name."""

import codecs
import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as checks
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.corpora.encodings import decoded
from tasks.corpora.entry import normalise_caption
from tasks.errors import RequestError
from tests.corpus_records import read_records, write_image

FIELD = Path(__file__).parents[1].parent / "shared/media/field"
FRENCH = "un café à la plage, l’été"
RUSSIAN = "красный круг"


def _captions(path: Path, kind: str = "images", layout: str = "folder", **more: str) -> dict[str, list[str]]:
    return {
        uri: [caption.text for caption in record.captions]
        for uri, record in read_records(path, kind, layout, **more).items()
    }


def _problem(path: Path, kind: str = "images", layout: str = "folder", **more: str) -> str:
    (record,) = read_records(path, kind, layout, **more).values()
    assert not record.captions
    return str(record.problem)


@pytest.mark.parametrize(
    ("mark", "codec"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (b"", "cp1252"),
        (b"", "latin-1"),
    ],
)
@pytest.mark.parametrize("place", ["txt", "srt", "vtt", "csv", "tsv", "tar txt", "tar json"])
def test_words_are_those_that_were_written(tmp_path: Path, mark: bytes, codec: str, place: str) -> None:
    words = FRENCH.replace("’", "'") if codec == "latin-1" else FRENCH
    kind, layout, path, uri = "images", "folder", tmp_path / "c", "a.png"
    write_image(path / "a.png")
    files = {
        "txt": ("a.txt", words),
        "srt": ("a.srt", f"1\n00:00:01,000 --> 00:00:02,000\n{words}\n"),
        "vtt": ("a.vtt", f"WEBVTT\n\n00:01.000 --> 00:02.000\n{words}\n"),
        "csv": ("manifest.csv", f'file,caption\na.png,"{words}"\n'),
        "tsv": ("manifest.tsv", f"file\tcaption\na.png\t{words}\n"),
        "tar txt": ("a.txt", words),
        "tar json": ("a.json", f'{{"caption": "{words}"}}'),
    }
    name, text = files[place]
    content = mark + text.encode(codec)
    if place in ("srt", "vtt"):
        kind, uri = "long-videos", "a.mp4"
        (path / "a.mp4").touch()
    if place.startswith("tar"):
        path, layout, uri = tmp_path / "c/t.tar", "webdataset", "t.tar/a.png"
        _tar(path, {"a.png": b"x", name: content})
    else:
        (path / name).write_bytes(content)
    assert _captions(path, kind, layout)[uri] == [words]


def test_tables_that_were_put_together_keep_the_words_of_both(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "manifest.csv").write_bytes(b"file,caption\na.png,caf\xc3\xa9 d\xe9j\xe0\n")
    assert _captions(tmp_path) == {"a.png": ["café déjà"]}


def _tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize(
    ("words", "codec"),
    [
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        ("κόκκινος κύκλος", "cp1253"),
        ("赤い円が右に動く", "shift_jis"),
        ("红色的圆向右移动", "gbk"),
        ("빨간 원", "euc-kr"),
        (f"images/0001.png and a long line of other words {RUSSIAN} that are ASCII", "cp1251"),
    ],
)
def test_what_the_rule_does_not_tell_is_quarantined_by_name_and_read_when_the_corpus_says_it(
    tmp_path: Path, words: str, codec: str
) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "a.txt").write_bytes(words.encode(codec))
    assert _problem(tmp_path).startswith("a.txt: the encoding is not known")
    assert _captions(tmp_path, encoding=codec) == {"a.png": [words]}
    (tmp_path / "a.txt").unlink()
    (tmp_path / "manifest.tsv").write_bytes(f"file\tcaption\na.png\t{words}\n".encode(codec))
    with pytest.raises(RequestError, match=r"manifest\.tsv: the encoding is not known.*`encoding`"):
        read_records(tmp_path)
    assert _captions(tmp_path, encoding=codec) == {"a.png": [words]}


@pytest.mark.parametrize("words", ["a red circle", RUSSIAN])
def test_utf_16_without_its_mark_never_gives_nuls(tmp_path: Path, words: str) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "a.txt").write_bytes(words.encode("utf-16-le"))
    assert "as UTF-16 without its mark" in _problem(tmp_path)
    assert _captions(tmp_path, encoding="utf-16-le") == {"a.png": [words]}
    (tmp_path / "manifest.csv").write_bytes(f"file,caption\na.png,{words}\n".encode("utf-16-le"))
    with pytest.raises(RequestError, match=r"manifest\.csv: line 1: holds NUL"):
        read_records(tmp_path)
    assert _captions(tmp_path, encoding="UTF-16LE") == {"a.png": [words]}


def test_the_order_of_decision(tmp_path: Path) -> None:
    assert decoded(RUSSIAN.encode(), None) == RUSSIAN  # strict UTF-8 before any share of letters
    assert decoded("é".encode("cp1252") + b"tude", None) == "étude"
    assert decoded(FRENCH.encode(), "cp1252") != FRENCH  # what the corpus says comes first,
    assert (
        decoded(codecs.BOM_UTF8 + FRENCH.encode(), "cp1251") == FRENCH
    )  # but before this mark there is no text
    for content, said in ((b"\xe9t\xe9", None), (b"\x98", "cp1251"), (codecs.BOM_UTF16_LE + b"a", None)):
        with pytest.raises(ValueError, match="encoding"):
            decoded(content, said)


def test_a_damaged_row_costs_no_other(tmp_path: Path) -> None:
    for name in "abcd":
        write_image(tmp_path / f"{name}.png")
    rows = [f"{name}.png\t{RUSSIAN}".encode() for name in "abc"] + [f"d.png\t{RUSSIAN}".encode()[:-1]]
    (tmp_path / "manifest.tsv").write_bytes(b"file\tcaption\n" + b"\n".join(rows))
    records = read_records(tmp_path)
    assert [record.problem is None for record in records.values()] == [True, True, True, False]
    assert records["a.png"].captions[0].text == RUSSIAN
    assert "manifest.tsv: line 5: letters were lost" in str(records["d.png"].problem)


def test_letters_lost_by_whoever_wrote_them_are_no_caption(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_image(tmp_path / f"{name}.png")
    (tmp_path / "manifest.csv").write_text("file,caption\na.png,caf\ufffd\na.png,a coffee\nb.png,caf\ufffd\n")
    records = read_records(tmp_path)
    assert [caption.text for caption in records["a.png"].captions] == ["a coffee"]
    assert "line 4: letters were lost in it" in str(records["b.png"].problem)


def test_parquet_and_folders_of_classes(tmp_path: Path) -> None:
    texts = pa.array([RUSSIAN.encode(), "café".encode("cp1252"), RUSSIAN.encode("cp1251")]).view(pa.string())
    pq.write_table(pa.table({"image": [b"x"] * 3, "caption": texts}), tmp_path / "t.parquet")
    captions = _captions(tmp_path / "t.parquet", layout="parquet")
    assert list(captions.values()) == [[RUSSIAN], ["café"], []]
    captions = _captions(tmp_path / "t.parquet", layout="parquet", encoding="cp1251")
    assert list(captions.values())[::2] == [[RUSSIAN], [RUSSIAN]]
    folder = tmp_path / "classes"
    for name in (b"caf\xe9", RUSSIAN.encode(), RUSSIAN.encode("cp1251")):
        target = folder.__fspath__().encode() + b"/" + name
        Path(target.decode("utf-8", "surrogateescape")).mkdir(parents=True)
        Path((target + b"/1.mp4").decode("utf-8", "surrogateescape")).touch()
    records = read_records(folder, "short-videos", "class-folders").values()
    found = {caption.text for record in records for caption in record.captions}
    assert found == {"café", RUSSIAN}
    assert sum("the folder's name: the encoding" in str(record.problem) for record in records) == 1


def test_the_field_folder(tmp_path: Path) -> None:
    if not FIELD.exists():
        pytest.skip("../shared/media/field is not here")
    records = read_records(FIELD / "encodings")
    assert [caption.text for caption in records["a.png"].captions] == ["a dog’s red ball"]
    assert [caption.text for caption in records["b.png"].captions] == ["a red circle moving right"]
    assert "c.txt: holds NUL" in str(records["c.png"].problem)
    assert "g.txt: the encoding is not known" in str(records["g.png"].problem)
    assert _captions(FIELD / "encodings", encoding="cp1251")["g.png"] == [RUSSIAN]


@pytest.mark.parametrize("name", ["klingon", "rot13", "base64", "idna", "unicode_escape", "", "\0"])
def test_an_encoding_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValidationError, match="is no encoding"):
        read_records(tmp_path, encoding=name)


def test_control_characters_of_old_programs_are_read_as_browsers_do() -> None:
    assert normalise_caption("a dog\x92s \x93ball\x94\ufeff\0 \x07here") == "a dog’s “ball” here"


@checks(deadline=None)  # a busy machine is no failure
@given(st.binary(max_size=60))
def test_no_bytes_give_a_caption_with_odd_characters(content: bytes) -> None:
    try:
        caption = normalise_caption(decoded(content, None))
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in caption)
        assert "\ufffd" not in caption or any(
            lost in content for lost in (b"\xef\xbf\xbd", b"\xff\xfd", b"\xfd\xff")
        )
