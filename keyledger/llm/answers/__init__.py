"""What is accepted of a provider's answer."""
