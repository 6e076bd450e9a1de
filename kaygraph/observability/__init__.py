"""Observation of runs: write conflicts, slow hooks, reports, logs, traces. Free if unused."""
