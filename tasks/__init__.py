"""The work itself, one folder per stage: plain functions and classes on Ray, callable without Prefect."""

import os

# Ray reads some of these when it is imported, which every module of this package may do at its top; so they are set
# before any of them is. The first two keep it from calling home and from a warning about hidden GPUs; the third lets
# the address that `tasks.cluster` gives it decide what everything binds to, which it alone does not.
for _name in (
    "RAY_USAGE_STATS_ENABLED",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER",
):
    os.environ.setdefault(_name, "0")
