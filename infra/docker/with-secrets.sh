#!/usr/bin/env bash
# Runs a command with the secrets that Compose has mounted, each an environment variable of its file's name: so they
# are neither in the compose file nor in what `docker inspect` shows.
set -euo pipefail
for file in /run/secrets/*; do
    if [ -f "$file" ]; then
        export "$(basename "$file")=$(cat "$file")"
    fi
done
exec "$@"
