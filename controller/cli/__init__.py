"""The verbs of the command line, one file each. Absent: logic that can be tested elsewhere."""
