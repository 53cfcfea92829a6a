"""The domain: conversations and their messages."""
