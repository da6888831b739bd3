"""A resident helper: a program sent over standard input, then one question and one answer a line.

Its source does not go through argv, which is limited and which every user of a host can read.
"""

from typing import Final

PYTHON: Final = ("python3", "-X", "utf8", "-I", "-S")
"""Isolated and without site-packages: it starts in 10 ms and nothing on the host can bend it.

Whatever language an account has set, names are bytes of UTF-8, as libvirt and QEMU write them.
"""

BOOTSTRAP: Final = (
    "import sys;"
    "source=sys.stdin.buffer.read(int(sys.stdin.buffer.readline()));"
    "exec(compile(source,'hotsite','exec'),{'__name__':'__main__'})"
)
ARGV: Final = (*PYTHON, "-c", BOOTSTRAP)


def render_program(program: str) -> str:
    """Return what is fed to the bootstrap: the length in bytes, a newline, the program."""
    return f"{len(program.encode())}\n{program}"


def render_question(question: str) -> str:
    """Return a question as the one line that it must be.

    Errors: ValueError where it is more than one line.
    """
    if "\n" in question:
        raise ValueError("a question to a helper is one line")
    return question + "\n"
