// Entries in the order of their times, page by page.
// Parameters: $tenant (empty for all), $since (as entries spell it, inclusive), $after_segment, $after_seq (the last entry of
//   the page before, at $since; empty and -1 at first), $limit.
// Returns: a (all properties).
MATCH (a:AuditEntry)
WHERE a.tenant >= $tenant AND ($tenant = '' OR a.tenant = $tenant) AND a.at >= $since
  AND (a.at > $since OR a.segment > $after_segment OR (a.segment = $after_segment AND a.seq > $after_seq))
RETURN properties(a) AS a ORDER BY a.at, a.segment, a.seq LIMIT $limit
