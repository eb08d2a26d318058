"""What the command line calls itself as a user agent. Its word is taken for it: it decides about nothing."""

CLI_AGENT = "keyledger-cli"
