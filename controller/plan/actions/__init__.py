"""Every change that can be made to the world, as a value; nothing here decides."""
