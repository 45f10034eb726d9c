"""Results to look at: tables, pictures, pages, files."""
