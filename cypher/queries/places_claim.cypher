// Takes the right to write about a question on a surface, unless somebody else has it; with the same holder again.
// Parameters: $key, $holder, $lease_ms, $id (of the approval), $facts (properties). Returns: key; no row when it is taken.
// Audit: nothing; it takes a lock.
MATCH (a:Approval {id: $id})
MERGE (p:ApprovalPlace {key: $key})
SET p.written_at = datetime.realtime() // takes the node's lock, so that what follows reads the last committed value
WITH a, p
WHERE p.holder IS NULL OR p.holder = $holder OR p.held_until_ms < timestamp()
SET p += $facts, p.holder = $holder, p.held_until_ms = timestamp() + $lease_ms
MERGE (a)-[:ASKED_AT]->(p)
RETURN p.key AS key
