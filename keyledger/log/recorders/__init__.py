"""What a running service records of itself: requests and reads, acceptance by providers, the policy it started with."""
