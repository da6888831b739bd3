"""The other end of a grant: who notes, answers and refuses."""
