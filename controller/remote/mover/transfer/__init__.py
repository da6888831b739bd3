"""The bytes between both ends: read over NBD, packed, framed, sent, and who may send."""
