"""Storms in which whole sites are lost and come back, with the loop and the simulated estate."""
