"""Guards for files that a stranger may have made: they run no code and fill no memory."""
