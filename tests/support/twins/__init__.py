"""In-memory twins of the domain's ports. `tests/contracts` runs the same sentences on each twin and on PostgreSQL."""
