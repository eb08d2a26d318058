"""The rules for endpoints: which addresses they may lead to, and the form in which they are stored."""
