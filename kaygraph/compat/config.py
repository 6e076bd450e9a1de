"""The settings of an application (models, prompts, …) that a flow passes to its nodes."""

from collections.abc import Iterator, Mapping
from typing import Any


class Config(Mapping[str, Any]):
    """A mapping of settings, made from keywords: ``Config(model="small", temperature=0.3)``.

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

    def set(self, key: str, value: Any) -> None:
        """Set one of the settings, for all nodes that read this Config."""
        self.update({key: value})

    def update(self, settings: Mapping[str, Any] = {}, /, **more: Any) -> None:
        """Set several of the settings, for all nodes that read this Config."""
        self._settings.update(settings, **more)

    def merge(self, other: Mapping[str, Any], /) -> "Config":
        """Return a Config with the settings of both; those of ``other`` take precedence."""
        return Config(**{**self._settings, **other})

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a new dict."""
        return dict(self._settings)

    def __repr__(self) -> str:
        return f"Config({', '.join(self)})"  # the values may be secrets


class _Empty(Config):
    """The Config of nodes without one; shared by all of them."""

    def update(self, settings: Mapping[str, Any] = {}, /, **more: Any) -> None:
        raise TypeError(
            "this node has no Config of its own to change: pass one, as in Node(config=Config(…)) "
            "or Flow(start, config=Config(…))"
        )


EMPTY = _Empty()
