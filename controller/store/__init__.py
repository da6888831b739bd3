"""What must survive a restart: the journal first of all. Absent: facts, specs, decisions."""
