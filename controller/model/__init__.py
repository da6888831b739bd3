"""The nouns: what is declared and what is seen. Frozen values. Absent: behaviour, I/O, clocks."""
