"""One self-contained page a run, and one that compares runs."""
