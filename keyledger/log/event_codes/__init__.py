"""The codes of the events in the log: attested once, checked as they are appended, and compared again and again."""
