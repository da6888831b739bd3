"""A resident helper: its program arrives on standard input, then it answers questions line by line.

The source is not passed in argv, whose length is limited and which every user of a host can read.
"""

from typing import Final

PYTHON: Final = ("python3", "-X", "utf8", "-I", "-S")
"""Isolated and without site-packages: it starts in 10 ms, unaffected by what a host has installed.

UTF-8 whatever the account's locale: libvirt and QEMU write names so.
"""

BOOTSTRAP: Final = (
    "import sys;"
    "sys.version_info>=(3,9) or sys.exit('Python '+sys.version.split()[0]+' is too old there:"
    " 3.9 or newer is needed');"
    "source=sys.stdin.buffer.read(int(sys.stdin.buffer.readline()));"
    "exec(compile(source,'hotsite','exec'),{'__name__':'__main__'})"
)
ARGV: Final = (*PYTHON, "-c", BOOTSTRAP)


def render_program(program: str) -> str:
    """Return the bootstrap's input: the program's length in bytes, a newline, the program."""
    return f"{len(program.encode())}\n{program}"


def render_question(question: str) -> str:
    """Return a question as one line.

    Errors: ValueError for more than one line.
    """
    if "\n" in question:
        raise ValueError("a question to a helper is one line")
    return question + "\n"
