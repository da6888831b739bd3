"""The conductor of the data plane: it begins, watches and ends copies; bytes go past it."""
