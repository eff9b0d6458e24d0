"""The names of columns that several modules ask for, and the values that some have; `schema.py` says what they hold."""

from typing import Literal, get_args

CLIP_ID = "clip_id"
SOURCE_ID = "source_id"
SOURCE_URI = "source_uri"
SOURCE_DIGEST = "source_digest"
CAPTION = "caption"
CAPTIONS = "captions"
CAPTION_CHOICE = "caption_choice"
NUM_FRAMES = "num_frames"
CLIP_SCORE = "clip_score"
CLIP_FEATURES = "clip_features"
FINGERPRINT = "fingerprint"
SCORER = "scorer"
ENCODER = "encoder"
LATENTS = "latents"
LATENTS_STD = "latents_std"
DUPLICATE_OF = "duplicate_of"
PICTURE = "picture"
INTERLACED = "interlaced"
SOURCE_FILMS = "source_films"
TEXT_AREA = "text_area"
HELD_TEXT_AREA = "held_text_area"
TEXT_FINDER = "text_finder"
NUDITY = "nudity"
NUDITY_MODEL = "nudity_model"
MODEL_CAPTIONS = "model_captions"
CAPTIONER = "captioner"
REASON = "reason"
STATES = "states"
TEXT_ENCODER = "text_encoder"

OWNER = (SOURCE_ID, "licence", "corpus")
"""What a removal goes by."""

Kind = Literal["images", "short-videos", "long-videos"]
"""What a source can be; the values of the column `kind`."""

KINDS: tuple[Kind, ...] = get_args(Kind)
VIDEO_KINDS: tuple[Kind, ...] = ("short-videos", "long-videos")

SPLITS = ("train", "val", "test")
"""The values of the column `split`."""
