"""What a caller may ask for, and where it then goes."""
