"""What a person or a program sees of a command, and how it ends."""
