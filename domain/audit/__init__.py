"""What is recorded of who did what, how it is found again, and who used a credential."""
