"""One run: what it holds open, what is true in one place of it, how it begins and ends."""
