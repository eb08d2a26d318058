"""What operators do: rotate keys, replay views, accept a restored log."""
