// Uses a signed link up. Of several who try at once one gets it.
// Parameters: $id, $approval_id, $use (drawn by the caller), $at. Returns: id; no row when it was used before.
// Audit: nothing; the answer is told.
MERGE (l:ApprovalLink {id: $id})
ON CREATE SET l.approval_id = $approval_id
SET l.written_at = datetime.realtime() // takes the node's lock, so that what follows reads the last committed value
WITH l WHERE l.use IS NULL OR l.use = $use
SET l.use = $use, l.used_at = $at
RETURN l.id AS id
