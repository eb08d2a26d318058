"""The `keyledger` command, its demo, and the bootstrap script that `make` runs.

No other package imports this one. `bootstrap` uses the standard library only, because it runs before anything is
installed.
"""
