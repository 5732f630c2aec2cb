// Entries of a tenant in the order of their times, page by page.
// Parameters: $tenant, $since (as entries spell it, inclusive), $after_segment, $after_seq (the last entry of the page before,
//   at $since; empty and -1 at first), $limit.
// Returns: a (all properties).
MATCH (a:AuditEntry {tenant: $tenant})
WHERE a.at >= $since
  AND CASE // no OR: it would be read as several searches, and nothing would be in order
        WHEN a.at > $since THEN true
        WHEN a.segment = $after_segment THEN a.seq > $after_seq
        ELSE a.segment > $after_segment
      END
WITH a ORDER BY a.tenant, a.at, a.segment, a.seq LIMIT $limit // begins as the index does
RETURN properties(a) AS a
