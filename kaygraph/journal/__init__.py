"""Runs that survive their process: what they record, and where it is kept."""

from .journal import Journal as Journal
