"""How hosts write ISO 8583: one table per dialect, variants as a table plus overrides."""
