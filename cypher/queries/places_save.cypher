// Records what the messages about a question tell, and gives the right to write back. Nothing when it was lost.
// Parameters: $key, $holder, $facts (properties; NULL removes one). Returns: nothing.
// Audit: nothing; the question is told, this says where people see it.
MATCH (p:ApprovalPlace {key: $key})
SET p.written_at = datetime.realtime() // takes the node's lock, so that what follows reads the last committed value
WITH p WHERE p.holder = $holder
SET p += $facts
REMOVE p.holder, p.held_until_ms
