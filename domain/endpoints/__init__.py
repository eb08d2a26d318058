"""Where an endpoint may lead, and in which form it is kept."""
