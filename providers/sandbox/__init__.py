"""Stands in for both providers on loopback, so that the real SDKs run without an account. No adapter imports it."""
