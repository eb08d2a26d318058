"""What the operator configured: variables, files, catalogue and providers."""
