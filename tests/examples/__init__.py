"""Tests of the examples, which run as processes of their own."""
