"""The Linux node itself: one facts script per poll, and the estate made of such nodes."""
