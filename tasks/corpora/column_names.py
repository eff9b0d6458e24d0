"""The names that columns of tables usually have."""

from __future__ import annotations

WEBVID_ID = "videoid"
PANDA_ID = "videoID"
# fmt: off
FILE_COLUMNS = (
    "file", WEBVID_ID, PANDA_ID, "file_name", "path", "video_path", "image_path",
    "video", "image", "filename", "filepath",
)
# fmt: on
CAPTION_COLUMNS = ("caption", "text", "captions", "description", "prompt")
LICENCE_COLUMNS = ("licence", "license")
