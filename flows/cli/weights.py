"""`vidrd weights`: weights of others by name, and the authors' release as a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.answer import answer
from flows.cli.command import profile_params
from flows.cli.common import given, in_group
from flows.cli.options import ChampionOption, ModelProfileOption
from flows.environment import prepare
from flows.terminal import tell
from storage.local.dry_run import scratch
from storage.local.typed_paths import typed_path

weights_app = typer.Typer(help="Weights by name, sha256-checked and cached.", rich_markup_mode=None)


@in_group(weights_app, "weights", "fetch")
def weights_fetch(
    name: Annotated[str, typer.Argument(help="A name from `vidrd weights list`.")],
    file: Annotated[
        Path | None,
        typer.Option(parser=typed_path, metavar="FILE", help="Take this file instead of fetching it."),
    ] = None,
) -> None:
    """Fetches weights once, checks their sha256 and converts them to safetensors.

    The last line printed is the path of the converted file in the cache.

    \b
    Example: vidrd weights fetch i3d
    """
    from storage.weights import known_weights

    known = known_weights(name)  # refuses an unknown name, before torch is loaded; so far there is one
    if given().dry_run:
        converted = known.path.with_suffix(".safetensors")
        told = {
            "would_take": str(file or known.requirement),
            "would_write": [str(known.path), str(converted)],
        }
        answer({"dry_run": True, "cached": converted.is_file()} | told)
        return
    from tasks.evaluation.i3d_weights import i3d_weights

    path = i3d_weights(file)
    if given().as_json:
        answer({"name": name, "file": str(path)})
    else:
        tell(path, error=False)  # scripts take the last line


@in_group(weights_app, "weights", "list")
def weights_list() -> None:
    """The weights known by name.

    With their licence, and whether they are in the cache.

    \b
    Example: vidrd weights list
    """
    from storage.weights import list_weights

    answer(
        {
            "weights": [
                {"name": weights.name, "cached": cached, "licence": weights.licence}
                for weights, cached in list_weights()
            ]
        }
    )


@in_group(weights_app, "weights", "import")
def weights_import(
    unet: Annotated[
        Path, typer.Option(parser=typed_path, metavar="FILE", help="The release's ModelT2V.pth.")
    ],
    base: Annotated[
        Path,
        typer.Option(parser=typed_path, metavar="DIR", help="Stable Diffusion 2.1-base, a diffusers folder."),
    ],
    out: Annotated[Path, typer.Option(parser=typed_path, metavar="DIR", help="The new model folder.")],
    vae: Annotated[
        Path | None,
        typer.Option(
            parser=typed_path, metavar="DIR", help="The release's vae_finetuned; by default the base's VAE."
        ),
    ] = None,
) -> None:
    """Turns the authors' release into one ordinary model folder.

    Nothing is written unless every key fits; files that could run code are refused.

    \b
    Example: vidrd weights import --unet ModelT2V.pth --vae vae_finetuned --base sd21-base --out vidrd-release
    """
    from tasks.output_folders import check_output_folder

    check_output_folder(out.parent, "out")
    prepare()
    from vidrd_model.published import check_new, import_release, read_release

    if given().dry_run:
        check_new(out)
        read_release(unet, vae, base)
        answer({"dry_run": True, "would_write": str(out)})
        return
    import_release(unet, vae, base, out)
    if given().as_json:
        answer({"model": str(out)})
    else:
        tell(out, error=False)  # scripts take the last line


@in_group(weights_app, "weights", "export", uses_settings=True)
def weights_export(
    out: Annotated[Path, typer.Option(parser=typed_path, metavar="FILE", help="A new .safetensors file.")],
    temporal: Annotated[bool, typer.Option("--temporal", help="The temporal layers alone.")] = False,
    model: ChampionOption = None,
    base: Annotated[
        str | None,
        typer.Option(metavar="DIR|ID", help="What the training began with; by default the profile's model."),
    ] = None,
    profile: ModelProfileOption = None,
) -> None:
    """The temporal layers of a model as one file, with a card beside it.

    `VidRDPipeline.from_image_model(FOLDER, temporal=FILE)` puts them into another image model of the same shape. The
    model's image layers have to be those of --base, as a training of `temporal` leaves them.

    \b
    Example: vidrd weights export --temporal --model models:/vidrd@champion --out layers.safetensors
    """
    from flows.model import find_champion, find_model
    from tasks.errors import RequestError
    from tasks.output_folders import check_output_file

    if not temporal:
        raise RequestError("temporal: say what is to be exported: --temporal, so far there is nothing else")
    if out.suffix != ".safetensors":
        raise RequestError(f"out: {out} must end in .safetensors")
    check_output_file(out, "out")
    for file in (out, out.with_suffix(".md")):
        if file.exists():
            raise RequestError(f"out: {file}: is there already; name a new file")
    prepare()
    params = profile_params(profile)
    found, chosen = find_champion(params) if model is None else find_model(model, params)
    from tasks.training.temporal_export import export_temporal_layers

    # In a dry run the file is written too, and goes: only so is it known that the layers fit.
    target = (scratch() or out.parent) / out.name
    export_temporal_layers(found.folder, found.ref, base or chosen.model, chosen.model_licence, target)
    if given().dry_run:
        answer({"dry_run": True, "would_write": [str(out), str(out.with_suffix(".md"))]})
    elif given().as_json:
        answer({"file": str(out), "card": str(out.with_suffix(".md"))})
    else:
        tell(out, error=False)  # scripts take the last line
