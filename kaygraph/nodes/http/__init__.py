"""Nodes that make HTTP requests, and their client."""
