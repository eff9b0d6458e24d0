"""Where `vidrd up` listens unless it is told otherwise."""

PREFECT_PORT, MLFLOW_PORT = 4200, 5000
