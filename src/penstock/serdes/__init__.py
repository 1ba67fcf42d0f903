"""How records are laid out in bytes, and which partition their keys go to."""
