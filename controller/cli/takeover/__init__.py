"""The verbs for the disaster, and for the way back."""
