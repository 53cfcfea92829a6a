"""The doors, both ways."""
