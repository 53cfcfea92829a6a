"""`make fuzz`: schemathesis asks a whole running stack whatever the schema allows, and what it does not.

Nothing may be answered 5xx, and every answer has to be one that the schema documents.
"""
