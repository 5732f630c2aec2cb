// Puts nodes of one label back; those that are there already stay as they are. The loader fills in LABEL and KEYS.
// Parameters: $rows [properties]. Returns: id (NULL for labels without one), a row for each that was not there.
// Audit: nothing; one entry, graph.restored, tells of the whole restore.
UNWIND $rows AS row
OPTIONAL MATCH (known:LABEL) WHERE KEYS
WITH row, known WHERE known IS NULL
CREATE (n:LABEL)
SET n = row
RETURN n.id AS id
