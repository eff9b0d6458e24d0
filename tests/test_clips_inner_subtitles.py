"""Subtitles in a film's own file are captions of its shots, without their markup; pictures of words are named."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest

from tasks.clips.from_source import clips_of
from tasks.clips.settings import ClipSettings
from tasks.clips.video_io import encode
from tasks.corpora.look import look_at
from tasks.corpora.readers import read_sources
from tasks.errors import ItemError
from tests.corpus_records import corpus_of

SETTINGS = ClipSettings(num_frames=4, fps=8, frame_stride=1, width=32, height=32)
SRT = """1
00:00:00,000 --> 00:00:01,900
<i>A red</i> field &amp; nothing {{\\an8}}

2
00:00:02,100 --> 00:00:03,900
ANN: the blue sea [waves]
"""
ASS = """[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,20

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:00.00,0:00:01.90,Default,,0,0,0,,{\\i1}A red{\\i0} field & nothing
Dialogue: 0,0:00:02.10,0:00:03.90,Default,Ann,0,0,0,,ANN: the blue sea [waves]
"""
VTT = """WEBVTT

00:00.000 --> 00:01.900
<i>A red</i> field &amp; nothing

00:02.100 --> 00:03.900
<v Ann>ANN: the blue sea [waves]
"""
WORDS = ["A red field & nothing", "ANN: the blue sea [waves]"]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shots of two seconds: red, then blue."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    frames = np.zeros((64, 64, 64, 3), np.uint8)
    frames[:32, ..., 0], frames[32:, ..., 2] = 220, 220
    frames[:, 20:40, 20:40] += np.arange(64, dtype=np.uint8)[:, None, None, None]
    encode(str(path), frames, 16.0)
    return path


def _muxed(folder: Path, film: Path, name: str, *tracks: tuple[str, str, str, str], **how: str) -> Path:
    """The film with tracks: what each is written in, its text, its codec there, its language."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-i", film]
    for index, (suffix, text, _, _) in enumerate(tracks):
        (folder / f"track{index}.{suffix}").write_text(text.replace("{{", "{").replace("}}", "}"))
        command += ["-i", folder / f"track{index}.{suffix}"]
    command += ["-map", "0:v", "-c:v", "copy"]
    for index, (_, _, codec, language) in enumerate(tracks):
        command += [
            "-map",
            str(index + 1),
            f"-c:s:{index}",
            codec,
            f"-metadata:s:s:{index}",
            f"language={language}",
        ]
    home = folder / "films"
    home.mkdir(exist_ok=True)
    options = [word for key, value in how.items() for word in (f"-{key}", value)]
    subprocess.run([*map(str, command), *options, str(home / name)], check=True)
    return home


def _shown(home: Path, **corpus: Any) -> list[tuple[float, str]]:
    (source,) = read_sources(corpus_of(home, "long-videos", **corpus))
    return [(int(clip.start_s) // 2 * 2, clip.captions[0].text) for clip in clips_of(source, SETTINGS)]


@pytest.mark.parametrize(
    ("name", "suffix", "text", "codec"),
    [
        ("a.mkv", "srt", SRT, "subrip"),
        ("a.mkv", "ass", ASS, "ass"),
        ("a.mkv", "vtt", VTT, "webvtt"),
        ("a.mp4", "srt", SRT, "mov_text"),
        ("a.mov", "srt", SRT, "mov_text"),
    ],
)
def test_text_in_the_file_is_the_caption_of_its_shot(
    tmp_path: Path, film: Path, name: str, suffix: str, text: str, codec: str
) -> None:
    home = _muxed(tmp_path, film, name, (suffix, text, codec, "eng"))
    assert _shown(home) == [(0, WORDS[0]), (2, WORDS[1])]
    assert _shown(home, sound_marks=False, speaker_names=False)[1] == (2, "the blue sea")
    (home / "a.txt").write_text("words beside it")
    assert {caption for _, caption in _shown(home)} == {"words beside it"}


def test_times_count_from_where_the_film_begins(tmp_path: Path, film: Path) -> None:
    home = _muxed(tmp_path, film, "a.mkv", ("srt", SRT, "subrip", "eng"), output_ts_offset="10")
    assert [caption for _, caption in _shown(home)] == WORDS


def test_of_several_languages_the_english_one_counts(tmp_path: Path, film: Path) -> None:
    other = SRT.replace("A red", "Rouge").replace("blue sea", "mer bleue")
    home = _muxed(tmp_path, film, "a.mkv", ("srt", other, "subrip", "fre"), ("srt", SRT, "subrip", "eng"))
    assert [caption for _, caption in _shown(home)] == WORDS
    home = _muxed(tmp_path, film, "a.mkv", ("srt", other, "subrip", "fre"), ("srt", SRT, "subrip", "ger"))
    with pytest.raises(
        ItemError, match=r"in several languages and none in English \(fre, stream 1, ger, stream 2\)"
    ):
        _shown(home)
    home = _muxed(tmp_path, film, "a.mkv", ("srt", SRT, "subrip", "fre"))
    assert [caption for _, caption in _shown(home)] == WORDS


def test_subtitles_that_are_pictures_are_named(tmp_path: Path, film: Path) -> None:
    # Told by its name alone: a stream of pictures in which no packet is.
    home = _muxed(tmp_path, film, "a.mkv", ("srt", SRT, "subrip", "eng"))
    path = home / "a.mkv"
    path.write_bytes(path.read_bytes().replace(b"S_TEXT/UTF8", b"S_HDMV/PGS\0"))
    with pytest.raises(
        ItemError, match=r"no caption; .*; its own subtitles are pictures \(hdmv_pgs_subtitle\)"
    ):
        _shown(home)
    (source,) = read_sources(corpus_of(home, "long-videos"), captions_needed=False)
    assert len(list(clips_of(source, SETTINGS))) == 2  # a model writes their captions


def test_a_film_without_any_is_without_a_caption(tmp_path: Path, film: Path) -> None:
    home = _muxed(tmp_path, film, "a.mp4")
    with pytest.raises(ItemError, match=r"no caption; add a row to the manifest or a \.txt beside the file$"):
        _shown(home)
    telemetry = SRT.replace("A red", "[iso : 100] GPS (1.0, 2.0)").replace("the blue", "[iso : 100]")
    home = _muxed(tmp_path, film, "a.mp4", ("srt", telemetry, "mov_text", "eng"))
    with pytest.raises(ItemError, match="no caption"):
        _shown(home)
    (look,) = look_at([corpus_of(home, "long-videos")])
    assert "  captions: 1 looked for in the file itself" in look.as_lines()
    (source,) = read_sources(corpus_of(home, "short-videos"))
    with pytest.raises(ItemError, match="no caption"):
        list(clips_of(replace(source), SETTINGS))
