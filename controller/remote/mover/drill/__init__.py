"""A restore point is started beside its replica, where nothing can leave, and taken away again."""
