"""Refuses to access keys with budgets what a provider carries out after its answer.

Promises: a key with a budget starts no batch and no fine-tuning, on any surface. Each would use any number of tokens,
as its file says, and the budget would show few.
"""

import re
from urllib.parse import unquote

from domain.calls.native import NativeCall
from domain.errors import AccessError, ErrorCode

_LATER = re.compile(
    r"(?:.*[/:])?(?:batch|batches|fine[-_]tunes?|fine[-_]tuning|batchgeneratecontent)(?:/.*)?", re.DOTALL
)
_ENDS_IT = re.compile(r"cancel|pause")


def require_counted(call: NativeCall) -> None:
    """Raise AccessError for a call that the budget of its caller, who was admitted, would not count."""
    if call.method != "POST" or call.admission is None or not call.admission.is_budgeted:
        return
    path = unquote(call.path).casefold().rstrip("/")
    if _LATER.fullmatch(path) and not _ENDS_IT.fullmatch(re.split("[/:]", path)[-1]):
        detail = "This access key has a budget (tokens_per_day or spend_per_month), and the tokens of batches and"
        remedy = "fine-tuning, which a provider carries out later, are not counted. Use a key without a budget."
        raise AccessError(ErrorCode.OUTSIDE_SCOPE, f"{detail} {remedy}")
