"""Media reaches nothing outside itself: no other file, no address, no program, whatever its name says it is."""

import http.server
import os
import stat
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tasks.clips.from_source import clips_of
from tasks.clips.images import read_image
from tasks.clips.reading import CONTAINERS, frame_times, probe
from tasks.clips.settings import ClipSettings
from tasks.clips.video_io import encode, iter_frames
from tasks.corpora.records import CaptionSpan, MediaPlace, SourceRecord
from tasks.corpora.tree import VIDEO_SUFFIXES
from tasks.errors import ItemError
from tasks.tiny.world.drawing import Scene, draw_clip

READERS = (probe, frame_times, lambda path: list(iter_frames(path)))


@pytest.fixture(scope="module")
def film() -> np.ndarray:
    return draw_clip(Scene("red", "circle", "up"), np.random.default_rng(0), 16)


@pytest.fixture
def corpus(tmp_path: Path, film: np.ndarray) -> Path:
    """A folder beside which lie films that nobody may read, with a link to one of them as an attacker sets it."""
    encode(tmp_path / "secret.mp4", film, 8.0)
    encode(tmp_path / "secret.ts", film, 8.0, container_format="mpegts")
    folder = tmp_path / "corpus"
    folder.mkdir()
    for suffix in ("mp4", "ts"):
        (folder / f"link.{suffix}").symlink_to(f"../secret.{suffix}")
    Image.fromarray(film[0]).save(folder / "still001.png")
    return folder


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """A server on the loopback, and what it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def _playlists(folder: Path, address: str) -> dict[str, str]:
    """Texts that libav takes for media which lies elsewhere, by what they are."""
    outside = folder.parent / "secret"
    hls = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n"
    dash = (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'profiles="urn:mpeg:dash:profile:isoff-main:2011" mediaPresentationDuration="PT2S"><Period>'
        '<AdaptationSet contentType="video"><Representation id="0" mimeType="video/mp4" bandwidth="1">'
        "<BaseURL>{}</BaseURL></Representation></AdaptationSet></Period></MPD>\n"
    )
    return {
        "concat": "ffconcat version 1.0\nfile link.mp4\n",
        "concat-safe": f"ffconcat version 1.0\nfile {outside}.mp4\n",
        "concat-net": f"ffconcat version 1.0\nfile {address}/a.mp4\n",
        "hls": hls.format("link.ts"),
        "hls-file": hls.format(f"file://{outside}.ts"),
        "hls-net": hls.format(f"{address}/a.ts"),
        "hls-key": hls.format("link.ts").replace(
            "#EXTINF", f'#EXT-X-KEY:METHOD=AES-128,URI="{address}/key"\n#EXTINF'
        ),
        "dash": dash.format("link.mp4"),
        "dash-net": dash.format(f"{address}/a.mp4"),
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
        "a=rtpmap:96 H264/90000\n",
        "asx": f'<asx version="3.0"><entry><ref href="{address}/a.mp4"/></entry></asx>\n',
        "rtsp": "rtsptextRTSP://127.0.0.1:9/a\n",
        "avisynth": f'DirectShowSource("{outside}.mp4")\n',
        "lavfi": f"movie={outside}.mp4",
        "vobsub": "# VobSub index file, v7 (do not modify this line!)\n",
        "imf": f'<AssetMap xmlns="http://www.smpte-ra.org/schemas/429-9/2007/AM"><Path>{outside}.mp4</Path></AssetMap>',
    }


@pytest.mark.parametrize("suffix", [".mp4", ".ffconcat", ".m3u8", ".mpd", ".avi", ".ts", ".gif"])
def test_playlists_are_refused_whatever_their_name(
    corpus: Path, listener: tuple[str, list[str]], suffix: str
) -> None:
    address, asked = listener
    for kind, text in _playlists(corpus, address).items():
        path = corpus / f"{kind}{suffix}"
        path.write_text(text)
        for read in READERS:
            with pytest.raises(ItemError, match=path.name) as caught:
                read(path)
            assert caught.value.stage == "decode" and "\n" not in str(caught.value)
    assert asked == []


@pytest.mark.parametrize("kind", ["short-videos", "long-videos"])
def test_a_playlist_of_a_corpus_gives_no_clip_and_its_reason(corpus: Path, kind: str) -> None:
    (corpus / "list.mp4").write_text("ffconcat version 1.0\nfile link.mp4\n")
    place = MediaPlace(str(corpus / "list.mp4"))
    captions = (CaptionSpan("a thing"),)
    source = SourceRecord("s", "list.mp4", place, "c", kind, "CC0-1.0", captions, "given", 1, 1)
    with pytest.raises(ItemError, match=r"list\.mp4.*none of the containers that are read \(.*matroska, mov"):
        list(clips_of(source, ClipSettings()))


def test_a_name_that_is_a_pattern_or_an_address_is_a_name(corpus: Path, film: np.ndarray) -> None:
    with pytest.raises(ItemError):
        probe(corpus / "still%03d.png")  # a pattern of libav's
    for name in ("film%03d.mp4", "concat:link.mp4|link.mp4", "http:", "subfile,,start,0,end,9,,:link.mp4"):
        path = corpus / name
        encode(corpus / "part.mp4", film, 8.0)
        (corpus / "part.mp4").rename(path)
        assert len(list(iter_frames(path))) == len(film)


def test_a_movie_whose_track_lies_in_another_file_gives_no_frame(corpus: Path, film: np.ndarray) -> None:
    secret = corpus.parent / "secret.mov"
    encode(secret, film, 8.0, container_format="mov")
    path = corpus / "refers.mov"
    path.write_bytes(_with_external_track(secret.read_bytes(), "/any/secret.mov", levels_up=2))
    with av.open(str(path), options={"enable_drefs": "1", "use_absolute_path": "1"}) as container:
        assert sum(1 for _ in container.decode(video=0)) == len(film)  # so it is for those who let it
    assert list(iter_frames(path)) == []


def _with_external_track(mov: bytes, target: str, levels_up: int) -> bytes:
    """A QuickTime movie whose data reference is an alias record that names another file."""
    name = target.encode()
    alias = bytes(10 + 28 + 12 + 64 + 16) + struct.pack(">HH", levels_up, 1) + bytes(16)
    alias += struct.pack(">HH", 2, len(name)) + name + bytes(len(name) % 2) + struct.pack(">Hh", 0xFFFF, 0)
    alias += bytes(max(0, 160 - len(alias)))
    box = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    at = mov.rindex(b"url ") - 4 if b"url " in mov else mov.rindex(b"alis") - 4
    old = struct.unpack(">I", mov[at : at + 4])[0]
    grown = bytearray(mov[:at] + box + mov[at + old :])
    for parent in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        place = grown.rindex(parent, 0, at) - 4
        size = struct.unpack(">I", grown[place : place + 4])[0]
        grown[place : place + 4] = struct.pack(">I", size + len(box) - old)
    return bytes(grown)


def test_every_suffix_of_videos_has_its_container(tmp_path: Path, film: np.ndarray) -> None:
    """The list is as short as it can be, and nothing that a corpus may hold is missing from it."""
    made = {
        ".3g2": ("libx264", "3g2"),
        ".3gp": ("libx264", "3gp"),
        ".asf": ("wmv2", "asf"),
        ".avi": ("mpeg4", "avi"),
        ".divx": ("mpeg4", "avi"),
        ".f4v": ("libx264", "mp4"),
        ".flv": ("flv", "flv"),
        ".gif": ("gif", "gif"),
        ".m1v": ("mpeg1video", "mpeg1video"),
        ".m2t": ("libx264", "mpegts"),
        ".m2ts": ("libx264", "mpegts"),
        ".m2v": ("mpeg2video", "mpeg2video"),
        ".m4v": ("mpeg4", "m4v"),
        ".mk3d": ("libx264", "matroska"),
        ".mkv": ("libx264", "matroska"),
        ".mov": ("libx264", "mov"),
        ".mp4": ("libx264", "mp4"),
        ".mpe": ("mpeg1video", "mpeg"),
        ".mpeg": ("mpeg2video", "mpeg2video"),
        ".mpg": ("mpeg1video", "mpeg"),
        ".mts": ("libx264", "mpegts"),
        ".ogm": ("libvpx", "ogv"),
        ".ogv": ("libvpx", "ogv"),
        ".qt": ("libx264", "mov"),
        ".ts": ("libx264", "mpegts"),
        ".vob": ("mpeg2video", "vob"),
        ".webm": ("libvpx-vp9", "webm"),
        ".wmv": ("wmv2", "asf"),
    }
    assert set(made) == set(VIDEO_SUFFIXES)
    opened = set()
    for suffix, (codec, container_format) in made.items():
        path = tmp_path / f"film{suffix}"
        pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        encode(path, film, 25.0, codec, pix_fmt, container_format)
        assert len(list(iter_frames(path))) >= len(film) - 1, suffix
        with av.open(str(path)) as container:
            opened |= set(container.format.name.split(",")) & set(CONTAINERS)
    assert opened == set(CONTAINERS)


def test_no_image_starts_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostScript makes Pillow look for Ghostscript: a program of that name, first in the path, must not run."""
    programs, ran = tmp_path / "bin", tmp_path / "ran"
    programs.mkdir()
    for name in ("gs", "gswin64c", "fig2dev", "convert"):
        (programs / name).write_text(f"#!/bin/sh\ntouch {ran}\n")
        (programs / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    postscript = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n%%EOF\n"
    for suffix in (".png", ".jpg", ".eps", ".webp"):
        path = tmp_path / f"drawing{suffix}"
        path.write_text(postscript)
        with pytest.raises(ItemError, match=rf"drawing\{suffix}: cannot be decoded: its content is no image"):
            read_image(path)
    assert not ran.exists()


@pytest.mark.parametrize("kind", ["PPM", "ICO", "TGA", "PDF", "PCX", "ICNS", "SGI", "DDS", "MSP"])
def test_only_kinds_of_images_that_a_corpus_names_are_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "picture.png"
    Image.new("1" if kind == "MSP" else "RGB", (32, 32)).save(path, kind)
    with pytest.raises(ItemError, match=r"picture\.png: cannot be decoded: its content is no image"):
        read_image(path)
