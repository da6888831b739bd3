"""The lease: one suite for every driver, and the controller's own machine on top."""
