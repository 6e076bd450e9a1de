"""Nodes that read and write data bases."""
