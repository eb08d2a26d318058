"""WebSockets: the handshake, messages out of frames, and the bytes of a connection that has left HTTP."""
