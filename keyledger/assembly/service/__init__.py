"""The parts of a running service: those that outlive a reload, and those that each configuration gets."""
