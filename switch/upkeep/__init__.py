"""What is done to the store itself: backup, restore, purge (docs/operations.md)."""
