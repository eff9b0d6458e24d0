#!/usr/bin/env bash
# The Prefect worker of a deployment on containers: joins the Ray cluster of $RAY_ADDRESS as a node without
# CPUs (a driver needs a Ray node beside it), deploys prefect.yaml to $PREFECT_API_URL, and runs flows. Beside
# it runs whose heartbeat has stopped are marked, such as those of a container that was killed.
set -euo pipefail
ray start --address="$RAY_ADDRESS" --num-cpus=0 --disable-usage-stats
prefect work-pool inspect vidrd >/dev/null 2>&1 || prefect work-pool create vidrd --type process
prefect --no-prompt deploy --all
python -m flows.up.stuck_runs &
exec prefect worker start --pool vidrd
