"""Nodes that call language models."""
