"""One run: its resources, the facts of one place in it, its start and its end."""
