"""hotsite: keep a two-site KVM estate able to survive the loss of a site.

Read ARCHITECTURE.md first; it is one page.
"""

__version__ = "0.1.0"
