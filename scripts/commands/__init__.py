"""The commands. A module is named after its command: `keys_rotate` is `keyledger keys rotate`.

To add one, write a function with Typer annotations and add one line to the table in `scripts.main`. Import heavy
modules inside the function, so that `--help` stays fast.
"""
