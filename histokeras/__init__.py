"""Transfer learning on H&E whole-slide images."""
