"""The loop: observe, decide, act, write it down. The only room that acts by itself."""
