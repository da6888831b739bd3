"""The door: `python3 guard.pyz VERB FOLDER [WORD…]`."""

import sys

from guard.verbs import main

sys.exit(main(sys.argv[1:]))
