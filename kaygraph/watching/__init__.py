"""The live page: a run in a browser while it goes on, why it waits, and one file to share."""
