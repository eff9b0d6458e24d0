"""What MLflow keeps: runs, registered models and their evaluations."""

import os

# MLflow reads these when it is imported, which any module of this package does.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# The default is seven retries with growing pauses: minutes of silence when no server listens.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
