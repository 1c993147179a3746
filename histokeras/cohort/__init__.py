"""Labels, names, joins and splits of patients."""
