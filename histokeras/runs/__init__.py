"""What a command did: run records, versions, hardware."""
