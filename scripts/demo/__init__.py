"""The demo behind `keyledger run`: the guided tour, its settings, and the stand-in for LLM providers."""
