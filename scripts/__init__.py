"""What a person starts: the `keyledger` command, one module per command group, and the bootstrap behind `make`.

Nothing else imports this package. `bootstrap` is standard library only, because it runs before anything is installed.
"""
