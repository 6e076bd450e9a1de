"""Nodes that ask over HTTP, and the client under them."""
