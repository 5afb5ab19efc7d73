"""The edge of the books: PostgreSQL, the file system, DuckDB."""
