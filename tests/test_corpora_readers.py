"""The readers: whatever lies in a corpus becomes a record, with its problem where it has one."""

import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as checks
from hypothesis import strategies as st

from tasks.corpora.entry import normalise_caption
from tasks.corpora.records import CaptionSpan, captions_for_span
from tasks.errors import RequestError
from tests.corpus_records import problems, read_records, write_image

SHARED_MEDIA = Path(__file__).parents[1].parent / "shared/media"


def test_folder_takes_captions_from_manifest_and_side_cars(tmp_path: Path) -> None:
    for name in ("a.png", "deep/b.JPG", "c.png", "d.png"):
        write_image(tmp_path / name)
    (tmp_path / "c.txt").write_text("  two\n words ")
    (tmp_path / "manifest.tsv").write_text(
        'file\tcaption\tlicence\n./a.png\ta 5" pipe\tCC-BY\ndeep//b.JPG\tb\t\ngone.png\tgone\t\n'
    )
    records = read_records(tmp_path)
    assert list(records) == ["a.png", "c.png", "d.png", "deep/b.JPG", "gone.png"]
    assert records["a.png"].captions == (CaptionSpan('a 5" pipe'),)
    assert records["a.png"].licence == "CC-BY" and records["c.png"].licence == "CC0-1.0"
    assert records["c.png"].captions == (CaptionSpan("two words", given="  two\n words "),)
    assert records["a.png"].problem is None and records["a.png"].size_bytes > 0
    assert records["a.png"].mtime_ns == (tmp_path / "a.png").stat().st_mtime_ns
    assert "no caption" in str(records["d.png"].problem)
    assert records["gone.png"].problem == "no such file"


def test_identity_does_not_depend_on_where_the_corpus_lies(tmp_path: Path) -> None:
    for place in ("here", "there/inside"):
        write_image(tmp_path / place / "a.png")
    (here,), (there,) = (read_records(tmp_path / place).values() for place in ("here", "there/inside"))
    assert here.source_id == there.source_id and here.place != there.place


@pytest.mark.parametrize(
    "file", ["../secret.png", "/etc/hostname", "x/../../secret.png", "link.png", "../gone.png"]
)
def test_nothing_outside_the_corpus_isread_records(tmp_path: Path, file: str) -> None:
    write_image(tmp_path / "secret.png")
    root = tmp_path / "corpus"
    write_image(root / "x/a.png")
    (root / "link.png").symlink_to("../secret.png")
    (root / "manifest.tsv").write_text(f"file\tcaption\n{file}\tstolen\n")
    (root / "list.csv").write_text(f"file,caption\n{file},stolen\n")
    for path, layout in ((root, "folder"), (root / "list.csv", "csv")):
        assert str(read_records(path, layout=layout)[file].problem).startswith("lies outside its corpus")


def test_a_manifest_that_lies_outside_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.tsv").write_text("file\tcaption\n")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/manifest.tsv").symlink_to("../secret.tsv")
    with pytest.raises(RequestError, match=r"manifest\.tsv: lies outside its corpus"):
        read_records(tmp_path / "corpus")


def test_odd_files_are_problems_not_exceptions(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "one.png").symlink_to("two.png")
    (tmp_path / "two.png").symlink_to("one.png")
    (tmp_path / "loop").symlink_to(".")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "manifest.tsv").write_text("file\tcaption\nfolder.png\tf\none.png\to\npipe.png\tp\n\tempty\n")
    records = read_records(tmp_path)
    assert set(records) == {"folder.png", "one.png", "two.png", "pipe.png"}
    assert all(record.problem for record in records.values())


def test_names_that_are_no_utf8_can_be_read_and_stored(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.png"
    os.rename(write_image(tmp_path / "a.png"), raw)
    with open(raw.replace(b".png", b".txt"), "w") as file:
        file.write("coffee")
    (record,) = read_records(tmp_path).values()
    assert record.uri == "caf\\xe9.png" and record.problem is None
    record.uri.encode()
    assert os.fsencode(record.place.url) == raw


def test_spans_and_bad_rows(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "manifest.csv").write_text(
        'file,caption,start_s,end_s\na.mp4,"one, two",0,1.5\na.mp4,three,1.5,\nb.mp4,x,2,1\nb.mp4,y,soon,\n'
    )
    records = read_records(tmp_path, "long-videos")
    assert records["a.mp4"].captions == (CaptionSpan("one, two", 0, 1.5), CaptionSpan("three", 1.5, None))
    assert "start_s is not a number" in str(records["b.mp4"].problem)


def test_csv_reads_webvid(tmp_path: Path) -> None:
    for place in ("p1/11.mp4", "videos/p1/12.mp4", "13.mp4"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(b"x")
    (tmp_path / "webvid.csv").write_text(
        "videoid,contentUrl,duration,page_dir,name\n"
        + "".join(f"{n},https://example.org/{n}.mp4,PT1S,p1,clip {n}\n" for n in (11, 12, 13, 14))
    )
    records = read_records(tmp_path / "webvid.csv", "short-videos", "csv")
    assert list(records) == [f"p1/{n}.mp4" for n in (11, 12, 13, 14)]
    assert [record.problem for record in records.values()] == [None, None, None, "no such file"]
    assert records["p1/12.mp4"].captions == (CaptionSpan("clip 12"),)


@pytest.mark.parametrize(
    ("layout", "name", "table", "uri"),
    [
        ("folder", "manifest.tsv", "file\tlicence\na.mp4\tCC-BY\n", "a.mp4"),
        ("csv", "list.csv", "file,licence\na.mp4,CC-BY\n", "a.mp4"),
        ("csv", "webvid.csv", "videoid,licence,page_dir\na,CC-BY,\n", "a.mp4"),
    ],
)
def test_where_a_model_writes_captions_no_column_is_needed_but_a_named_one_is(
    tmp_path: Path, layout: str, name: str, table: str, uri: str
) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / name).write_text(table)
    path = tmp_path if layout == "folder" else tmp_path / name
    (record,) = read_records(path, "short-videos", layout, captions_needed=False).values()
    assert (record.uri, record.licence, record.captions, record.problem) == (uri, "CC-BY", (), None)
    with pytest.raises(RequestError, match=r"has no column '(caption|name)' \(found: "):
        read_records(path, "short-videos", layout)
    with pytest.raises(RequestError, match="has no column 'title'"):
        read_records(path, "short-videos", layout, captions_needed=False, caption_column="title")


def test_words_beside_a_file_as_trainers_of_others_have_them(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png", "d.PNG", "e.png", "f.png"):
        write_image(tmp_path / name)
    (tmp_path / "a.caption").write_text("cap a")
    (tmp_path / "b.json").write_text('{"caption": "cap b", "text": "no"}')
    (tmp_path / "c.json").write_text('{"text": ["one", "two"]}')
    (tmp_path / "d.TXT").write_text("cap d")
    (tmp_path / "d.json").write_text('{"caption": "no"}')
    (tmp_path / "e.json").write_text('{"width": 8}')
    (tmp_path / "f.json").write_text("[")
    records = read_records(tmp_path)
    told = {uri: [caption.text for caption in record.captions] for uri, record in records.items()}
    assert told == {
        "a.png": ["cap a"],
        "b.png": ["cap b"],
        "c.png": ["one", "two"],
        "d.PNG": ["cap d"],
        "e.png": [],
        "f.png": [],
    }
    assert "no caption" in str(records["e.png"].problem) and "f.json: not the fields" in str(
        records["f.png"].problem
    )
    (tmp_path / "a.json").write_text('{"short": "a"}')
    (tmp_path / "a.caption").unlink()
    assert read_records(tmp_path, caption_column="short")["a.png"].captions == (CaptionSpan("a"),)


def test_captions_are_kept_as_given(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        write_image(tmp_path / name)
    long = "word " * 2_000_000
    (tmp_path / "manifest.csv").write_text(f'file,caption\na.png,"two\n  lines"\na.png,one\nb.png,{long}\n')
    (tmp_path / "c.txt").write_text(long)
    records = read_records(tmp_path)
    assert records["a.png"].captions == (CaptionSpan("two lines", given="two\n  lines"), CaptionSpan("one"))
    for name in ("b.png", "c.png"):
        (caption,) = records[name].captions
        assert (len(caption.text), len(caption.given or "")) == (1000, 10_000)


def test_a_caption_of_10_mb_is_in_memory_once(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("x" * 10_000_000)
    tracemalloc.start()
    read_records(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


SRT = "1\n00:00:00,500 --> 00:00:02,000\nA man\nwalks\n\n2\n00:00:02,000 --> 00:01:03,250\n<i>He sits</i>\n"
VTT = "WEBVTT\n\n00:00.500 --> 00:02.000\nA man\nwalks\n\n00:02.000 --> 01:03.250\n<i>He sits</i>\n"
CUES = (CaptionSpan("A man walks", 0.5, 2.0, "A man\nwalks"), CaptionSpan("He sits", 2.0, 63.25))


def test_subtitles_beside_a_long_video_are_spans(tmp_path: Path) -> None:
    for name in "abcde":
        (tmp_path / f"{name}.mp4").touch()
    (tmp_path / "a.srt").write_text(SRT)
    (tmp_path / "b.vtt").write_text(VTT)
    (tmp_path / "b.txt").write_text("a man")
    (tmp_path / "c.srt").write_text(SRT)
    (tmp_path / "d.srt").write_text("nothing of the kind")
    (tmp_path / "e.vtt").write_text("nothing of the kind")
    (tmp_path / "manifest.tsv").write_text("file\tcaption\tstart_s\nc.mp4\tall\t1\ne.mp4\tall\t\n")
    records = read_records(tmp_path, "long-videos")
    assert records["a.mp4"].captions == CUES
    assert records["b.mp4"].captions == (CaptionSpan("a man"), *CUES)
    assert records["c.mp4"].captions == (CaptionSpan("all", 1.0),)
    assert records["e.mp4"].captions == (CaptionSpan("all"),)
    assert [uri for uri, problem in problems(records).items() if problem] == ["d.mp4"]
    assert "d.srt: holds no subtitles that can be read" in str(records["d.mp4"].problem)
    assert not read_records(tmp_path, "short-videos")["a.mp4"].captions


def test_what_a_quote_swallows_is_said(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        write_image(tmp_path / name)
    table = tmp_path / "list.csv"
    table.write_text('file,caption\na.png,"one"\nb.png,"two\nc.png,three\n')
    with pytest.raises(RequestError, match=r"list\.csv: line 3: a quote is opened and never closed"):
        read_records(table, layout="csv")
    table.write_text('file,caption\na.png,a 5" pipe\nb.png,"a ""quoted"" word"')
    captions = [record.captions[0].text for record in read_records(table, layout="csv").values()]
    assert captions == ['a 5" pipe', 'a "quoted" word']


def test_a_latin_1_table_is_read(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "list.csv").write_bytes("file,caption\na.png,un café à \u2019\n".encode("cp1252"))
    (record,) = read_records(tmp_path / "list.csv", layout="csv").values()
    assert record.captions == (CaptionSpan("un café à \u2019"),)


@checks(deadline=None)  # a busy machine is no failure
@given(st.binary(max_size=300))
def test_any_table_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("table")
    for name, head in (("manifest.tsv", b"file\tcaption\n"), ("list.csv", b"file,caption,start_s,end_s\n")):
        (folder / name).write_bytes(head + content)
    try:
        for record in read_records(folder).values():
            assert record.problem
        read_records(folder / "list.csv", layout="csv")
    except RequestError as error:
        assert "list.csv" in str(error) or "manifest.tsv" in str(error)
        assert "\n" not in str(error)


def test_links_inside_the_corpus_are_read_and_loops_are_not(tmp_path: Path) -> None:
    write_image(tmp_path / "corpus/real/a.png")
    (tmp_path / "corpus/b.png").symlink_to("real/a.png")
    (tmp_path / "corpus/again").symlink_to("real")
    (tmp_path / "corpus/real/up").symlink_to("..")
    (tmp_path / "corpus/out").symlink_to("/etc")
    (tmp_path / "entry").symlink_to("corpus")
    (tmp_path / "corpus/manifest.tsv").write_text(
        "file\tcaption\nb.png\tb\nreal/a.png\ta\nagain/a.png\tc\nreal/up/b.png\td\nout/hostname\te\n"
    )
    assert problems(read_records(tmp_path / "entry")) == {
        "again/a.png": None,
        "b.png": None,
        "out/hostname": "lies outside its corpus",
        "real/a.png": None,
        "real/up/b.png": None,
    }


def test_shared_media_are_read_with_their_captions_and_licences() -> None:
    if not SHARED_MEDIA.exists():
        pytest.skip("../shared/media is not here")
    images = read_records(SHARED_MEDIA / "images")
    assert len(images) == 9 and not any(record.problem for record in images.values())
    assert images["china.jpg"].licence == "CC-BY"
    videos = read_records(SHARED_MEDIA / "videos", "short-videos")
    assert len(videos) == 6 and not any(record.problem for record in videos.values())


@checks(deadline=None)  # a busy machine is no failure
@given(st.text())
def test_captions_become_one_short_printable_line(text: str) -> None:
    caption = normalise_caption(text)
    assert caption == normalise_caption(caption)
    assert len(caption) <= 1000 and len(caption.splitlines()) <= 1 and caption == caption.strip()
    caption.encode()


spans = st.tuples(st.floats(0, 100), st.floats(0.01, 50)).map(lambda s: (s[0], s[0] + s[1]))


@checks(deadline=None)  # a busy machine is no failure
@given(st.lists(spans, max_size=8), spans)
def test_a_shot_takes_the_caption_that_overlaps_it_most(caption_spans: list, shot: tuple) -> None:
    captions = [CaptionSpan(str(i), start_s, end_s) for i, (start_s, end_s) in enumerate(caption_spans)]
    overlaps = [min(end_s, shot[1]) - max(start_s, shot[0]) for start_s, end_s in caption_spans]
    taken = captions_for_span(captions, *shot)
    if not taken:
        assert all(overlap <= 0 for overlap in overlaps)
    else:
        assert len(taken) == 1 and overlaps[int(taken[0].text)] == max(overlaps) > 0
    untimed = (CaptionSpan("whole"), CaptionSpan("all of it"))
    assert captions_for_span([*captions, *untimed], *shot) == (taken or untimed)
