"""The terminal side of commands: output, progress, questions, signals, exit codes, and the service's client."""
