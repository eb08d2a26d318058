"""The encryption keys: sealing with them, tracking which nodes have them, and rotating them."""
