"""What commands write: rows that appear whole or not at all, partial files to resume from, tables."""
