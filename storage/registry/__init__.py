"""What MLflow keeps: runs, registered models and their evaluations."""
