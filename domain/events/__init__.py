"""Events: what every event has, how a type is defined, its code, its personal members, and the log it is written to."""
