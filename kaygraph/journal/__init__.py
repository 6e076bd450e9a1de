"""What a run has recorded, and where it is kept: runs that survive their process."""

from .journal import Journal as Journal
