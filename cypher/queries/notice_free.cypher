// Gives the right to tell back: it did not work.
// Parameters: $key, $holder. Returns: nothing.
// Audit: nothing; nobody was told.
MATCH (n:ApprovalNotice {key: $key})
SET n.written_at = datetime.realtime() // takes the node's lock, so that what follows reads the last committed value
WITH n WHERE n.holder = $holder AND n.done_at IS NULL
REMOVE n.holder, n.held_until_ms
