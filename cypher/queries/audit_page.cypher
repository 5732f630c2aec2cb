// Entries of one segment, in order, page by page.
// Parameters: $segment, $after (number of the last entry of the page before), $limit.
// Returns: a (all properties), following (numbers of the entries that NEXT leads to).
MATCH (a:AuditEntry {segment: $segment}) WHERE a.seq > $after
WITH a ORDER BY a.segment, a.seq LIMIT $limit // by both: the order of the index
RETURN properties(a) AS a, [(a)-[:NEXT]->(b) | b.seq] AS following
