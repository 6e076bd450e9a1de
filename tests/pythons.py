"""The supported Pythons that are here; ``python -m tests.pythons`` prints all but the running one.

They are looked for on PATH, as ``python3.12``, and among those of pyenv.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


def candidates(version: str) -> Iterator[str]:
    """Yield where a version may be: a program of pyenv's may be on PATH and refuse to run."""
    if found := shutil.which(f"python{version}"):
        yield found
    folders = [os.environ.get("PYENV_ROOT")]
    if pyenv := shutil.which("pyenv"):
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False)
        folders.append(root.stdout.strip())
    for folder in filter(None, folders):
        yield from map(str, sorted(Path(folder, "versions").glob(f"{version}.*/bin/python")))


def pythons() -> dict[str, str]:
    """Return a program for each version that is here; for this one, that which runs now."""
    found = {"{}.{}".format(*sys.version_info): sys.executable}
    for version in SUPPORTED:
        for program in candidates(version) if version not in found else ():
            command = [program, "-c", VERSION]
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            if run.returncode == 0 and run.stdout.strip() == version:
                found[version] = program
                break
    return found


if __name__ == "__main__":
    print(*[program for program in pythons().values() if program != sys.executable], sep="\n")
