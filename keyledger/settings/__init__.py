"""The operator's configuration: variables, files, the catalogue of models and providers."""
