// Executions in the order in which they were asked for, page by page.
// Parameters: $tenant (empty for all), $since (datetime, inclusive), $after (id of the last one of the page before, asked for
//   at $since; empty at first), $limit. Returns: id, requested_at.
MATCH (e:RunbookExecution)
WHERE e.requested_at >= $since AND ($tenant = '' OR e.tenant = $tenant) AND (e.requested_at > $since OR e.id > $after)
RETURN e.id AS id, e.requested_at AS requested_at ORDER BY e.requested_at, e.id LIMIT $limit
