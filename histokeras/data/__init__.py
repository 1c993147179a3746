"""tf.data pipelines from slides and tiles to the network."""
