"""What belongs to this service and to neither the domain nor HTTP: settings, keyring, event store, embedded PostgreSQL,
the adapter to LLM providers, and the composition root that puts them together.
"""
