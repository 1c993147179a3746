"""Programs that measure histokeras on the machine at hand; no part of the package."""
