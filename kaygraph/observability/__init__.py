"""Who watches a run: write conflicts, slow hooks, the report. Unwatched runs pay nothing."""
