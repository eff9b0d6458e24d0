"""What is kept on disk: the clip tables and their versions (Lance), the model registry (MLflow), weights."""
