"""The work itself, one folder per stage: plain functions and classes on Ray, callable without Prefect."""
