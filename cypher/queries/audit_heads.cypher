// The last entry of segments.
// Parameters: $segments. Returns: segment, tenant, seq, hash; no row for a segment without entries.
UNWIND $segments AS segment
CALL (segment) {
  MATCH (a:AuditEntry {segment: segment}) WHERE a.seq >= 0
  RETURN a ORDER BY a.segment DESC, a.seq DESC LIMIT 1 // by both: the order of the index, read from its end
}
RETURN segment, a.tenant AS tenant, a.seq AS seq, a.hash AS hash
