"""The user agent of the command line. Anyone can send it, so nothing but the recorded source depends on it."""

CLI_AGENT = "keyledger-cli"
