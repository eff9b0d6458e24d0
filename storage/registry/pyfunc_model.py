"""The registered model as MLflow serves it: prompts in, videos as pixels out.

MLflow copies this file into every version and runs it when the version is loaded
(`mlflow.pyfunc.load_model("models:/vidrd@champion").predict(pd.DataFrame({"prompt": ["a red circle"]}))`),
in an environment that has the `vidrd` package.
"""

from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModel


class TextToVideo(PythonModel):
    """Turns a table with a `prompt` column into videos, (b, frames, h, w, 3) uint8."""

    def load_context(self, context: Any) -> None:
        """Load the pipeline from the version's own artifact."""
        # Imported when the version is loaded: logging a version runs this file and needs no torch.
        from vidrd_model import VidRDPipeline

        self._pipe = VidRDPipeline.from_pretrained(context.artifacts["model"])

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> np.ndarray:
        """Make one video for every prompt; `params` are those of the version's signature, None is the model's own."""
        prompts = [str(prompt) for prompt in model_input["prompt"]]
        asked = {name: value for name, value in (params or {}).items() if value is not None}
        return self._pipe(prompts, output_type="uint8", **asked).frames


mlflow.models.set_model(TextToVideo())
