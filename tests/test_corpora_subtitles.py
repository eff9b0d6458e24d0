"""Subtitles: cues are words with their times, and neither markup nor comments, styles or names of cues are words."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as checks
from hypothesis import strategies as st

from tasks.corpora.corpus import Corpus
from tasks.corpora.cue_markup import cue_words
from tasks.corpora.readers import passed_by
from tasks.corpora.records import CaptionSpan
from tests.corpus_records import read_records

FIELD = Path(__file__).parents[1].parent / "shared/media/field/subtitles"
HEAD = {
    ".srt": "1\n00:00:01,000 --> 00:00:02,500\n",
    ".vtt": "WEBVTT\n\n00:01.000 --> 00:02.500\n",
    ".ass": "[Script Info]\nTitle: x\n\n[V4+ Styles]\nFormat: Name, Fontname\nStyle: Default,Arial\n\n[Events]\n"
    "Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
    "Comment: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,never\n"
    "Dialogue: 0,0:00:01.00,0:00:02.50,Default,Ann,0,0,0,,",
}


def _spans(folder: Path, suffix: str, content: str, **more: object) -> list[tuple]:
    (folder / "a.mp4").touch()
    (folder / f"a{suffix}").write_bytes(content.encode())
    (record,) = read_records(folder, "long-videos", **more).values()
    assert record.problem is None or not record.captions
    return [(caption.text, caption.start_s, caption.end_s) for caption in record.captions]


@pytest.mark.parametrize("suffix", HEAD)
@pytest.mark.parametrize(
    ("marked", "words"),
    [
        (r"{\an8}moving right", "moving right"),
        (r"{\i1}moving{\i0} {\c&H0000FF&\fs20}right", "moving right"),
        (r"moving\Nright", "moving right"),
        ("<i>moving</i> <b>right", "moving right"),
        ('<font color="#ff0000">moving</font> right', "moving right"),
        ("<v Ann>moving right</v>", "moving right"),
        ("<v.loud Ann Lee>moving</v> <c.yellow.bg_blue>right</c>", "moving right"),
        ("<00:05.500>moving <00:00:06.000>right", "moving right"),
        ("<lang en-GB>moving</lang> right", "moving right"),
        ("<ruby>moving<rt>mo</rt></ruby> right", "moving right"),
        ("tom &amp; jerry", "tom & jerry"),
        ("&lt;b&gt; 5 &lt; 6&nbsp;x &lrm;", "<b> 5 < 6 x"),
        ("caf&#233; &#x2014; &amp;lt;", "café — &lt;"),
        ("5 < 6 and R&D {sic}", "5 < 6 and R&D {sic}"),
        ("[music] ANN: hello (laughs)", "[music] ANN: hello (laughs)"),
    ],
)
def test_markup_never_becomes_words(tmp_path: Path, suffix: str, marked: str, words: str) -> None:
    assert _spans(tmp_path, suffix, f"{HEAD[suffix]}{marked}\n") == [(words, 1.0, 2.5)]


@pytest.mark.parametrize(
    ("text", "sounds", "names", "neither"),
    [
        ("[music] a red circle", "a red circle", "[music] a red circle", "a red circle"),
        ("♪ la la ♪\na circle (thud)", "a circle", "♪ la la ♪ a circle (thud)", "a circle"),
        ("ANN: hello", "ANN: hello", "hello", "hello"),
        ("- Ann Lee: hello\n>> BOB: yes", "- Ann Lee: hello >> BOB: yes", "- hello >> yes", "- hello >> yes"),
        ("it is 5:30 now", "it is 5:30 now", "it is 5:30 now", "it is 5:30 now"),
        ("he said: go", "he said: go", "he said: go", "he said: go"),
    ],
)
def test_sound_marks_and_names_are_an_option(text: str, sounds: str, names: str, neither: str) -> None:
    assert cue_words(text) == text
    for marks, speakers, words in ((False, True, sounds), (True, False, names), (False, False, neither)):
        assert " ".join(cue_words(text, marks, speakers).split()) == words


def test_the_options_of_a_corpus(tmp_path: Path) -> None:
    content = HEAD[".srt"] + "[music]\nANN: hello\n\n2\n00:00:03,000 --> 00:00:04,000\n[applause]\n"
    told = _spans(tmp_path, ".srt", content, sound_marks=False, speaker_names=False)
    assert told == [("hello", 1.0, 2.5)]
    assert _spans(tmp_path, ".srt", content)[0] == ("[music] ANN: hello", 1.0, 2.5)


def test_styles_notes_regions_and_names_of_cues(tmp_path: Path) -> None:
    content = (
        "WEBVTT - a title\nKind: captions\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n\n"
        "STYLE\n::cue { color: red }\n\nREGION\nid:fred\n\nNOTE a comment\nover lines\n\n"
        "id-1\n00:01.000 --> 00:02.000 align:start position:0%\none\n\nNOTE\nbetween\n\n"
        "7\n00:02.000 --> 00:03.000\n\n\nlast\n00:03.000 --> 01:00:04.000\ntwo\nlines\n"
    )
    told = [("one", 1.0, 2.0), ("two lines", 3.0, 3604.0)]
    assert _spans(tmp_path, ".vtt", content) == told
    assert _spans(tmp_path, ".vtt", content.replace("\n", "\r\n")) == told


@pytest.mark.parametrize(
    "content",
    [
        "\n\n1\n00:00:01,000 --> 00:00:02,000\none\n\n2\n00:00:02,000 --> 00:00:03,000\ntwo",
        "00:00:01,000 --> 00:00:02,000\none\n\n00:00:02,000 --> 00:00:03,000\ntwo\n",
        "1\n00:00:01.000 --> 00:00:02.000 X1:40\none\n2\n00:00:02.000 --> 00:00:03.000\ntwo\n",
        "1\r\n00:00:01,000 --> 00:00:02,000\r\none\r\n\r\n2\r\n00:00:02,000 --> 00:00:03,000\r\ntwo\r\n\r\n",
    ],
)
def test_srt_that_is_not_quite_one(tmp_path: Path, content: str) -> None:
    assert _spans(tmp_path, ".srt", content) == [("one", 1.0, 2.0), ("two", 2.0, 3.0)]
    (tmp_path / "a.srt").unlink()
    assert _spans(tmp_path, ".vtt", content) == [("one", 1.0, 2.0), ("two", 2.0, 3.0)]


def test_a_script_counts_where_there_is_nothing_else(tmp_path: Path) -> None:
    script = (
        HEAD[".ass"]
        + r"moving, {\p1}m 0 0 l 9 9{\p0}right"
        + "\nDialogue: 0,0:00:09.00,0:00:09.00,D,,0,0,0,,x\n"
    )
    assert _spans(tmp_path, ".ass", script) == [("moving, right", 1.0, 2.5)]
    (tmp_path / "a.txt").write_text("all of it")
    assert _spans(tmp_path, ".ass", script) == [("all of it", None, None)]


ROLLING = """WEBVTT
Kind: captions

00:00:00.000 --> 00:00:02.000 align:start position:0%
\x20
a<00:00:00.500><c> red</c><00:00:00.800><c> square</c>

00:00:02.000 --> 00:00:02.010 align:start position:0%
a red square
\x20

00:00:02.010 --> 00:00:04.000 align:start position:0%
a red square
moves<00:00:03.000><c> right</c>

00:00:04.000 --> 00:00:04.010 align:start position:0%
moves right
\x20

00:00:04.010 --> 00:00:06.000 align:start position:0%
moves right
moves<00:00:05.000><c> right</c>
"""


@pytest.mark.parametrize("suffix", [".vtt", ".srt"])
def test_captions_that_roll_up_say_each_line_once(tmp_path: Path, suffix: str) -> None:
    content = ROLLING
    if suffix == ".srt":  # as downloaders convert them
        _, *cues = re.sub(r"<[^<>]*>", "", ROLLING).split("\n\n")
        content = "\n\n".join(f"{number}\n{cue}" for number, cue in enumerate(cues, start=1))
        content = content.replace(" align:start position:0%", "").replace(".", ",")
    assert _spans(tmp_path, suffix, content) == [
        ("a red square", 0.0, 2.0),
        ("moves right", 2.01, 4.0),
        ("moves right", 4.01, 6.0),
    ]


def test_lines_that_are_said_twice_stay_where_nothing_rolls(tmp_path: Path) -> None:
    cues = "".join(f"{n}\n00:00:0{n},000 --> 00:00:0{n},900\nla la\nla la\n\n" for n in (1, 2))
    assert _spans(tmp_path, ".srt", cues) == [("la la la la", 1.0, 1.9), ("la la la la", 2.0, 2.9)]


def test_what_a_drone_writes_beside_its_film_is_no_caption(tmp_path: Path) -> None:
    told = (
        '1\n00:00:00,000 --> 00:00:00,033\n<font size="28">FrameCnt: 1, DiffTime: 33ms\n2024-05-01 10:00:00.000\n'
        "[iso: 100] [shutter: 1/320.0] [latitude: 52.1] [longitude: 13.1] </font>\n\n"
        "2\n00:00:00,033 --> 00:00:00,066\nF/2.8, SS 320, ISO 100, EV 0, GPS (13.1, 52.1, 18), D 24.6m\n\n"
    )
    assert _spans(tmp_path, ".srt", told) == []
    (record,) = read_records(tmp_path, "long-videos").values()
    assert record.problem == "a.srt: holds no subtitles"


SRT = "1\n00:00:01,000 --> 00:00:02,500\n{}\n"


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({"film.en.srt": "red"}, "red"),
        ({"film.en-US.srt": "red", "film.de.srt": "rot"}, "red"),
        ({"film.de.srt": "rot", "film.eng.SRT": "red", "film.fr.srt": "rouge"}, "red"),
        ({"film.pt-BR.srt": "vermelho"}, "vermelho"),
        ({"film.en.forced.srt": "signs", "film.en.srt": "red"}, "red"),
        ({"film.en.sdh.srt": "red"}, "red"),
        ({"film.en-orig.vtt": "rolling", "film.en.vtt": "red"}, "red"),
        ({"film.en.srt": "of another", "film.srt": "red"}, "red"),
        ({"film.en.ass": "red", "film.de.ass": "rot"}, "red"),
    ],
)
def test_subtitles_with_a_language_in_their_names(tmp_path: Path, others: dict[str, str], words: str) -> None:
    (tmp_path / "film.mp4").touch()
    for name, text in others.items():
        suffix = Path(name).suffix.lower()
        head = SRT.removesuffix("{}\n") if suffix == ".srt" else HEAD[suffix]
        (tmp_path / name).write_text(f"{head}{text}\n")
    (record,) = read_records(tmp_path, "long-videos").values()
    assert [(caption.text, caption.start_s) for caption in record.captions] == [(words, 1.0)]


def test_subtitles_in_several_languages_of_which_none_is_english_are_named(tmp_path: Path) -> None:
    for name in ("film.mp4", "film.en.mp4", "other.mp4"):
        (tmp_path / name).touch()
    for name in ("film.de.srt", "film.fr.srt", "film.en.srt", "other.1080p.srt", "nobody.en.srt"):
        (tmp_path / name).write_text(SRT.format(name))
    records = read_records(tmp_path, "long-videos")
    assert [caption.text for caption in records["film.en.mp4"].captions] == ["film.en.srt"]
    assert records["film.mp4"].problem == (
        "its subtitles are in several languages and none in English (film.de.srt, film.fr.srt); keep one"
    )
    assert "no caption" in str(records["other.mp4"].problem)
    table = {"name": "c", "kind": "long-videos", "format": "folder", "path": tmp_path, "licence": "MIT"}
    assert passed_by(Corpus.model_validate(table)) == [
        "film.de.srt",
        "film.fr.srt",
        "nobody.en.srt",
        "other.1080p.srt",
    ]


def test_the_field_folder(tmp_path: Path) -> None:
    if not FIELD.exists():
        pytest.skip("../shared/media/field is not here")
    assert _spans(tmp_path, ".srt", (FIELD / "s1.srt").read_text("utf-8-sig")) == [
        ("a red circle", 0.0, 2.0),
        ("moving right", 2.0, 4.0),
        ("tom & jerry bold", 5.0, 8.0),
    ]
    (tmp_path / "a.srt").unlink()
    assert _spans(tmp_path, ".vtt", (FIELD / "v1.vtt").read_text()) == [
        ("a red & blue circle", 0.0, 2.0),
        ("overlap <b> 5 < 6 x", 1.0, 5.0),
        ("timed words r", 5.0, 8.0),
    ]


def test_what_was_given_stays_in_the_caption_as_given(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / "a.srt").write_text(HEAD[".srt"] + "<i>a man</i>\nwalks\n")
    (record,) = read_records(tmp_path, "long-videos").values()
    assert record.captions == (CaptionSpan("a man walks", 1.0, 2.5, "a man\nwalks"),)


@checks(deadline=None, max_examples=200)  # a busy machine is no failure
@given(st.text(st.sampled_from("<>{}\\/&;:pbirtv1-[](♪\nA a"), max_size=200))
def test_any_markup_ends(text: str) -> None:
    assert len(cue_words(text, False, False)) <= len(text)
