"""The encryption keys: sealing with them, knowing which nodes have them, replacing them."""
