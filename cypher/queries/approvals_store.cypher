// Stores questions; one that is known already stays as it is.
// Parameters: $rows [properties]. Returns: nothing.
// Audit: approval.asked.
UNWIND $rows AS row
MERGE (a:Approval {id: row.id})
ON CREATE SET a = row
