"""Open slides: pixels, pyramid, mpp, tissue."""
