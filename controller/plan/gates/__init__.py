"""What each step may do now, and the sentence that says why not."""
