"""What the package's metadata takes from elsewhere: README, with links that work on an index."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r'(?<=\]\()(?![a-z]+:|[#/])[^)\s]+|(?<=src=")(?![a-z]+:|/)[^"]+')


class Readme(MetadataHookInterface):
    """README's relative links lead to the repository, to the files as they were in this version."""

    def update(self, metadata: dict[str, Any]) -> None:
        root = Path(self.root)
        address = metadata["urls"]["Source"]

        def absolute(link: re.Match[str]) -> str:
            path = link.group()
            is_picture = path.endswith((".png", ".svg"))
            kind = "raw" if is_picture else "tree" if (root / path).is_dir() else "blob"
            return f"{address}/{kind}/v{metadata['version']}/{path}"

        text = (root / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": LINK.sub(absolute, text),
        }
