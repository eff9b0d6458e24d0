"""A model as a folder: how it is loaded, and what is written beside its weights so that others load it too."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import DiffusionPipeline

# Loading a pipeline folder, diffusers looks for the classes of its components, and for their base class, in one module.
from diffusers.models.modeling_utils import ModelMixin  # noqa: F401
from huggingface_hub import create_repo
from safetensors import SafetensorError

from vidrd_model.errors import ModelError
from vidrd_model.references import find_folder
from vidrd_model.unet import TemporalUNet
from vidrd_model.vae import TemporalVAE  # noqa: F401

_INDEX, _CARD = "model_index.json", "README.md"
_OWN_CLASS = ["pipeline", "VidRDPipeline"]
_OWN_COMPONENTS = ("vidrd_model.unet", "vidrd_model.vae")

_PIPELINE_FILE = '''\
"""The class of this model, for diffusers: `DiffusionPipeline.from_pretrained(MODEL, trust_remote_code=True)`.

It comes from the package vidrd, which has to be installed.
"""

from {module} import {name}

__all__ = ["{name}"]
'''

_CARD_TEXT = """\
---
library_name: diffusers
pipeline_tag: text-to-video
tags:
- text-to-video
- vidrd
---

# A text-to-video model of VidRD

Long videos made clip by clip ([Reuse and Diffuse](https://arxiv.org/abs/2309.03549)). With the package vidrd installed:

```python
from diffusers import DiffusionPipeline
from diffusers.utils import export_to_video

pipe = DiffusionPipeline.from_pretrained("MODEL", trust_remote_code=True)  # or VidRDPipeline, which needs no trust
export_to_video(pipe("PROMPT", num_clips=3, seed=7).frames[0], "video.mp4", fps={fps:g})
```
"""


class ModelFolder(DiffusionPipeline):
    """Loads and saves a pipeline with what lies beside its weights: a card, and files that name its classes."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **settings: Any) -> Self:
        """Loads a model folder, a hub id (`id@revision` pins it) or `models:/vidrd@champion`.

        In float32 unless `dtype` says otherwise. No code of the folder is run. Raises ModelError, naming the folder and
        the part, when it is no VidRD model.
        """
        folder = find_folder(pretrained_model_name_or_path, settings)
        if "torch_dtype" not in settings:  # the older name of `dtype` in diffusers
            settings.setdefault("dtype", torch.float32)
        settings.setdefault("use_safetensors", True)
        try:
            pipe: Any = super().from_pretrained(str(folder), **settings)
        except ModelError as error:
            raise ModelError(f"{folder / _INDEX}: {error}") from error
        except (OSError, ValueError, TypeError, SafetensorError) as error:
            reason = str(error).strip().splitlines()
            raise ModelError(
                f"{folder}: no VidRD model ({reason[0] if reason else type(error).__name__})"
            ) from error
        if not isinstance(pipe.unet, TemporalUNet):
            raise ModelError(f"{folder}: its UNet is a {type(pipe.unet).__name__}, not a TemporalUNet")
        return pipe

    @classmethod
    def _dict_from_json_file(cls, json_file: Any) -> dict[str, Any]:
        """What a folder says, its own classes named as those that are imported here, whose code lies in no folder."""
        index: dict[str, Any] = super()._dict_from_json_file(json_file)
        if index.get("_class_name") == _OWN_CLASS:
            index["_class_name"] = _OWN_CLASS[1]
        for name, value in index.items():
            if isinstance(value, list) and value and value[0] in _OWN_COMPONENTS:
                index[name] = [__name__, *value[1:]]
        return index

    def save_pretrained(
        self,
        save_directory: str | Path,
        safe_serialization: bool = True,
        variant: str | None = None,
        max_shard_size: int | str | None = None,
        push_to_hub: bool = False,
        **of_the_hub: Any,
    ) -> None:
        """Writes a folder that `from_pretrained` loads, and diffusers' own `DiffusionPipeline` as well.

        `variant` is a part of the weights' file names. `of_the_hub` is for `push_to_hub`.
        """
        folder = Path(save_directory)
        super().save_pretrained(folder, safe_serialization, variant, max_shard_size)
        _name_classes(folder)
        self._write_card(folder)
        if push_to_hub:
            repo_id = of_the_hub.pop("repo_id", folder.name)
            self._upload(folder, repo_id, **of_the_hub)

    def push_to_hub(
        self,
        repo_id: str,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | None = None,
        create_pr: bool = False,
        safe_serialization: bool = True,
        variant: str | None = None,
        subfolder: str | None = None,
    ) -> Any:
        """Uploads what `save_pretrained` writes to a repository of the hub, its model card among it."""
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, safe_serialization, variant)
            return self._upload(Path(folder), repo_id, commit_message, private, token, create_pr, subfolder)

    def _upload(
        self,
        folder: Path,
        repo_id: str,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | None = None,
        create_pr: bool = False,
        subfolder: str | None = None,
    ) -> Any:
        repository = create_repo(repo_id, private=private, token=token, exist_ok=True).repo_id
        return self._upload_folder(
            folder, repository, token, commit_message or "Upload a VidRD model", create_pr, subfolder
        )

    def _write_card(self, folder: Path) -> None:
        """The card of the folder that the model was loaded from, else a short one; one that is there stays."""
        card, source = folder / _CARD, Path(self.config.get("_name_or_path") or "", _CARD)
        if card.exists():
            return
        if self.config.get("_name_or_path") and source.is_file():
            shutil.copyfile(source, card)
            return
        fps = self.config["sampling"].get("fps", 8)
        card.write_text(_CARD_TEXT.format(fps=fps), encoding="utf-8")


def _name_classes(folder: Path) -> None:
    """Writes the files by which diffusers finds the classes of the pipeline and of its parts, and names them."""
    path = folder / _INDEX
    index = json.loads(path.read_text(encoding="utf-8"))
    index["_class_name"] = _OWN_CLASS
    index.pop("_name_or_path", None)  # where it was loaded from is nobody's business but this machine's
    path.write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    module, name = "vidrd_model.pipeline", _OWN_CLASS[1]
    (folder / "pipeline.py").write_text(_PIPELINE_FILE.format(module=module, name=name), encoding="utf-8")
    for component, value in index.items():
        if isinstance(value, list) and value[0] in _OWN_COMPONENTS:
            # diffusers looks for it under the module's whole name.
            file = folder / component / f"{value[0]}.py"
            file.write_text(_PIPELINE_FILE.format(module=value[0], name=value[1]), encoding="utf-8")
