"""The settings of an application (models, prompts, …) that a flow passes to its nodes."""

from collections.abc import Iterator, Mapping
from typing import Any


class Config(Mapping[str, Any]):
    """A read-only mapping, made from keywords: ``Config(model="small", temperature=0.3)``.

    A node reads ``self.config``: its own Config, or that of the enclosing flow.
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = settings

    def __getitem__(self, key: str) -> Any:
        return self._settings[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._settings)

    def __len__(self) -> int:
        return len(self._settings)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a new dict."""
        return dict(self._settings)

    def __repr__(self) -> str:
        return f"Config({', '.join(self)})"  # the values may be secrets


EMPTY = Config()
