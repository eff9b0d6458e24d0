#!/usr/bin/env bash
# Prints new secrets for the servers of a deployment on containers, one NAME=value a line.
# Compose:     (umask 077; infra/docker/secrets.sh > infra/.env)
# Kubernetes:  infra/docker/secrets.sh | kubectl -n vidrd create secret generic vidrd --from-env-file=/dev/stdin
set -euo pipefail
random() { od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n'; }
for name in RAY_AUTH_TOKEN MLFLOW_TRACKING_PASSWORD MLFLOW_FLASK_SERVER_SECRET_KEY; do
    echo "$name=$(random)"
done
echo "PREFECT_API_AUTH_STRING=vidrd:$(random)"
