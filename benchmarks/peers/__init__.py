"""What a user would pick instead: each peer runs from its own virtual environment."""
