// Segments in the order of their names, page by page.
// Parameters: $tenant (empty for all), $since (when they began at the earliest, as entries spell it), $after (the last
//   name of the page before), $limit. Returns: segment, tenant, at.
MATCH (a:AuditEntry)
WHERE a.begins >= $tenant AND ($tenant = '' OR a.begins = $tenant) AND a.at >= $since AND a.segment > $after
RETURN a.segment AS segment, a.tenant AS tenant, a.at AS at ORDER BY a.segment LIMIT $limit
