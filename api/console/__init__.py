"""Pages for people: what is at the root, and the OpenAPI document to read."""
