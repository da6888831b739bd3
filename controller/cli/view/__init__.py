"""Tables, lines and colours: what the verbs print, and where they read it."""
