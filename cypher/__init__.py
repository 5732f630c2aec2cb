"""Every Cypher statement of the product, as files, and their loader."""
