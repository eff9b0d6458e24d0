"""Options of other tools that people type from habit, answered with ours."""

from __future__ import annotations

_OURS = {
    "--batch-size": "--set temporal.batch_size=N",
    "--cfg": "--guidance",
    "--checkpoint": "--model",
    "--data": "--dataset",
    "--data-dir": "--dataset",
    "--dataset-name": "--dataset",
    "--frames": "--clips (a clip has a model's own number of frames)",
    "--guidance-scale": "--guidance",
    "--height": "--size WxH",
    "--learning-rate": "--set temporal.lr=X",
    "--lr": "--set temporal.lr=X",
    "--max-train-steps": "--set temporal.steps=N",
    "--num-frames": "--clips (a clip has a model's own number of frames)",
    "--num-inference-steps": "--steps",
    "--output": "--out",
    "--output-dir": "--out-dir",
    "--pretrained-model-name-or-path": "--model, or --set model=DIR for a training",
    "--prompt": 'the text itself, as in vidrd generate "a red circle moving right"',
    "--resolution": "--size WxH",
    "--sampler": "--scheduler",
    "--train-batch-size": "--set temporal.batch_size=N",
    "--verbose": "nothing: progress is shown unless --quiet is given",
    "--width": "--size WxH",
    "-o": "--out",
    "-q": "--quiet",
}


def with_ours(message: str, option: str | None) -> str:
    """Adds to the answer for an unknown option what it is called here, where that is known."""
    ours = None if option is None else _OURS.get(option.replace("_", "-"))
    return message if ours is None else f"{message.partition(' (Possible')[0]}; here it is {ours}"
