"""Who is told what is wrong."""
