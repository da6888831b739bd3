"""What differs between two trees as a patch, by the git program of this machine: no repository, no
remote, no settings of anybody are asked for.
"""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from controller.source.git.program import GitFailed, GitProgram, last_words

SAME: Final = 0
DIFFERENT: Final = 1
DIFF: Final = ("diff", "--no-index", "--no-prefix", "--no-color", "--no-ext-diff", "--no-renames",
               "--text", "a", "b")


async def patch_of(git: GitProgram, tree: Path, files: Mapping[str, str | None], other: Path,
                   folder: str) -> str:
    """Return how `files` of another tree differ from those of `tree`, as `git apply` takes it.

    Shapes: `folder` is where the trees lie in the repository.
    Errors: GitFailed.
    """
    with TemporaryDirectory(prefix="hotsite-patch-") as name:
        place = Path(name)
        for side, root in (("a", tree), ("b", other)):
            (place / side).mkdir()
            for file in files:
                if (root / file).is_file():
                    target = place / side / folder / file
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes((root / file).read_bytes())
        async with git.process("-C", name, *DIFF, in_mirror=False) as process:
            stdout, stderr = await process.communicate()
    if process.returncode not in {SAME, DIFFERENT}:
        raise GitFailed(last_words(stderr.decode(errors="replace")))
    return stdout.decode(errors="replace")
