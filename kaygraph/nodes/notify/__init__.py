"""Nodes that notify people and programs."""
