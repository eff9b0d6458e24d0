"""Trains the models of the profile `tiny`, part by part, each into OUT.

    python -m tasks.tiny.models vae  --out runs/tiny-models
    python -m tasks.tiny.models clip --out runs/tiny-models
    python -m tasks.tiny.models unet --out runs/tiny-models     # needs the vae; trains the text encoder first

OUT then holds model/ and clip/, the folders that infra/profiles/tiny ships, and training.log.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from tasks.tiny.models.folders import write_clip_folder, write_model_folder
from tasks.tiny.models.train_clip import train_clip
from tasks.tiny.models.train_text import make_tokenizer, train_text_encoder
from tasks.tiny.models.train_unet import draw_bank, train_unet
from tasks.tiny.models.train_vae import train_vae
from vidrd_model import TemporalVAE

DEFAULT_STEPS = {"vae": 1600, "clip": 1500, "unet": 2600}


def main() -> None:
    """Parses the command line and trains one part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=sorted(DEFAULT_STEPS))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, help="default: " + json.dumps(DEFAULT_STEPS))
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    steps = args.steps or DEFAULT_STEPS[args.part]
    with (args.out / "training.log").open("a") as file:

        def log(line: str) -> None:
            print(line, flush=True)
            print(line, file=file, flush=True)

        log(
            json.dumps(
                {
                    "command": f"python -m tasks.tiny.models {' '.join(sys.argv[1:])}",
                    "torch": torch.__version__,
                }
            )
        )
        {"vae": _vae, "clip": _clip, "unet": _unet}[args.part](args.out, steps, args.seed, log)


def _vae(out: Path, steps: int, seed: int, log: Callable[[str], None]) -> None:
    vae, _losses = train_vae(steps, seed, log)
    vae.save_pretrained(out / "vae")


def _clip(out: Path, steps: int, seed: int, log: Callable[[str], None]) -> None:
    clip_model, _losses = train_clip(steps, seed, log)
    write_clip_folder(out / "clip", clip_model)


def _unet(out: Path, steps: int, seed: int, log: Callable[[str], None]) -> None:
    vae = TemporalVAE.from_pretrained(out / "vae").eval()
    bank = draw_bank(vae, seed)
    log(json.dumps({"training": "unet", "clips": len(bank.scenes)}))
    tokenizer = make_tokenizer()
    text_encoder, _losses = train_text_encoder(tokenizer, seed, log)
    unet, _losses = train_unet(bank, text_encoder, tokenizer, steps, seed, log)
    write_model_folder(out / "model", unet, vae, text_encoder)


if __name__ == "__main__":
    main()
