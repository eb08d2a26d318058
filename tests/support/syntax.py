"""Syntax trees of source text, each parsed once.

Nothing is collected while text is parsed. On Python 3.11 the parser loses count of its depth, and fails, when a
collection runs code that parses as well, as the printing of a traceback does.
"""

import ast
import gc
from functools import cache


@cache
def tree_of(source: str) -> ast.Module:
    """Return the tree; callers leave it as it is. Raises SyntaxError."""
    collects = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        if collects:
            gc.enable()
