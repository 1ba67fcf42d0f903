"""Takes new versions of a program while it runs."""
