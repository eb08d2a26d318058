"""The work of operators: rotating keys, replaying projections, accepting a restored log, setting the policy."""
