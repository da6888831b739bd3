"""What the store holds about the estate and the loop, for verbs and pages; nothing is contacted."""
