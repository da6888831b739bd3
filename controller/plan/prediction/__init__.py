"""What the loss of a site or host, now, would come to: who starts, when, and how that is known."""
