// Stores questions; one that is known already stays as it is.
// Parameters: $rows [properties]. Returns: a (the properties that are stored).
UNWIND $rows AS row
MERGE (a:Approval {id: row.id})
ON CREATE SET a = row
RETURN properties(a) AS a
