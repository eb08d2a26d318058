"""Everything a request passes before and after its endpoint: envelope, guard, bodies, problems, metrics."""
