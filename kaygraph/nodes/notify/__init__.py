"""Nodes that tell people and programs."""
