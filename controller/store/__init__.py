"""Everything that must survive a restart: the journal first of all."""
