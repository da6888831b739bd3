"""The door: `python3 mover.zip VERB [WORD…]`."""

import sys

from mover.bytecode import start_from

start_from(sys.argv[0])

from mover.verbs import main  # noqa: E402

sys.exit(main(sys.argv[1:]))
