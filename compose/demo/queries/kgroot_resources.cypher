// Topology, as KGroot's state watcher writes it: resources named by kind, namespace and name.
// Parameters: $rows [{rid, facts (properties)}]. Returns: nothing.
UNWIND $rows AS row
MERGE (r:Resource {rid: row.rid})
SET r += row.facts, r.updated_at = datetime()
