"""Hands that tell somebody something: a webhook, a mail, a program; and the sign of life."""
