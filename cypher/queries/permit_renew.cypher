// Extends the leases of one holder by this server's clock. A lease that ran out unnoticed is extended too: nobody took
// the target meanwhile, so nobody was let in.
// Parameters: $holder, $ids, $lease_ms. Returns: id of those that are still held.
// Audit: nothing; a heartbeat of an execution that is told.
UNWIND $ids AS id
MATCH (e:RunbookExecution {id: id})
MATCH (c:TargetClaim {key: e.claim_key})
SET c.written_at = datetime.realtime()
WITH e, c
WHERE c.execution_id = e.id AND c.holder = $holder AND c.epoch = e.epoch
SET c.lease_until_ms = datetime.realtime().epochMillis + $lease_ms
RETURN e.id AS id
