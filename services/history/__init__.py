"""The execution log in PostgreSQL: a copy of what the graph holds, in two tables."""
