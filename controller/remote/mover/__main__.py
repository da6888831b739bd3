"""The door: `python3 mover.zip VERB [WORD…]`."""

import sys

from mover.verbs import main

sys.exit(main(sys.argv[1:]))
