"""Computing a view again from the log, beside the live one."""
