"""The border with the providers: nothing else knows an SDK."""
