// Appends entries to their segments. An entry that is there already stays as it is, so that a write whose answer was
// lost can be sent again. Nobody else writes these segments: no node is fought for.
// Parameters: $rows [{tenant, segment, seq, at, kind, actor, reason, subject, incident_id, execution_id, facts, prev,
//   hash}]. Returns: nothing.
// Audit: the trail itself.
UNWIND $rows AS row
MERGE (a:AuditEntry {segment: row.segment, seq: row.seq})
ON CREATE SET a = row, a.begins = CASE WHEN row.seq = 0 THEN row.tenant END
WITH a, row
MATCH (before:AuditEntry {segment: row.segment, seq: row.seq - 1})
MERGE (before)-[:NEXT]->(a)
