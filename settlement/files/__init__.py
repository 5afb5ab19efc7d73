"""Clearing files: one module a format, each a layout table with its parser and renderer."""
