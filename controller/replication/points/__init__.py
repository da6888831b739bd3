"""What is done with one restore point by hand: written as files of its own, or tried out."""
