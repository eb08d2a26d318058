"""Reading the audit: entries, exports, usage."""
