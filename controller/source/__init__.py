"""Where declared state comes from: a folder or a git repository. Absent: decisions."""
