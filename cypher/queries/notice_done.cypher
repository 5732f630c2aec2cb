// People were told. Nothing when the right to tell was lost.
// Parameters: $key, $holder, $at. Returns: key, tenant (of the execution, or NULL); no row when it was lost.
// Audit: approval.told.
MATCH (n:ApprovalNotice {key: $key})
SET n.written_at = datetime.realtime() // takes the node's lock, so that what follows reads the last committed value
WITH n WHERE n.holder = $holder AND n.done_at IS NULL
SET n.done_at = $at
REMOVE n.holder, n.held_until_ms
WITH n
OPTIONAL MATCH (a:Approval {id: n.approval_id})
OPTIONAL MATCH (e:RunbookExecution {id: a.execution_id})
RETURN n.key AS key, e.tenant AS tenant
