"""What the engine costs, as a ratio to bare asyncio that does the same in the same process.

``python -m benchmarks`` runs all and prints a JSON line for each; ``--smoke`` runs them small, to
check that they work. Nothing here asserts a time: machines differ, and are noisy.
"""
