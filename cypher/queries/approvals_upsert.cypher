// Stores questions; one that is known already stays as it is.
// Parameters: $rows [properties]. Returns: a (the properties that are stored), created,
//   tenant (of its execution, or NULL).
// Audit: approval.asked.
UNWIND $rows AS row
OPTIONAL MATCH (known:Approval {id: row.id})
WITH row, known IS NULL AS created
MERGE (a:Approval {id: row.id})
ON CREATE SET a = row
WITH a, created
OPTIONAL MATCH (e:RunbookExecution {id: a.execution_id})
RETURN properties(a) AS a, created, e.tenant AS tenant
