"""A link that leaves ``docs/`` leads to the repository, whose address is in pyproject.toml."""

import re
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
ADDRESS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]["Source"]
LINK = re.compile(r"(?<=\]\()(?:\.\./)+[^)#\s]+")


def lead_there(app: Sphinx, page: str, source: list[str]) -> None:
    """Change the links of one page; those that lead nowhere stay, for Sphinx to warn of."""
    here = Path(app.srcdir, page).parent

    def there(link: re.Match[str]) -> str:
        path = (here / link.group()).resolve()
        if path.is_relative_to(Path(app.srcdir).resolve()) or not path.exists():
            return link.group()
        return f"{ADDRESS}/{'tree' if path.is_dir() else 'blob'}/main/{path.relative_to(ROOT)}"

    source[0] = LINK.sub(there, source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Change pages as they are read."""
    app.connect("source-read", lead_there)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
