"""The database as Django has it, with one difference; DATABASES names this package as its ENGINE."""
