// Takes the right to tell people something, unless it was told or somebody else is about to.
// Parameters: $key, $approval_id, $holder, $lease_ms. Returns: key; no row when it is taken or told.
// Audit: nothing; it takes a lock.
MERGE (n:ApprovalNotice {key: $key})
ON CREATE SET n.approval_id = $approval_id
SET n.written_at = datetime.realtime() // takes the node's lock, so that what follows reads the last committed value
WITH n WHERE n.done_at IS NULL AND (n.holder IS NULL OR n.holder = $holder OR n.held_until_ms < timestamp())
SET n.holder = $holder, n.held_until_ms = timestamp() + $lease_ms
RETURN n.key AS key
