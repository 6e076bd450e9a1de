"""Runs that survive their process: what is recorded of them, and where."""
