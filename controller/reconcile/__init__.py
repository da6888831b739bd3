"""The loop: observe, decide, plan, apply, write it down. The only room that acts by itself."""
