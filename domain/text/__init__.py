"""Texts that people write and read: names, lengths of time, characters that cannot be seen."""
