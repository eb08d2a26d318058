"""The parts put together: for the service, for commands, for another program, and again at a reload."""
