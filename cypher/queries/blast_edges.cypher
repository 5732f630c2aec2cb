// How the graph ties others to each touched resource: the edges that its blast radius is counted from.
// Parameters: $touched [{n, rids}] (n numbers the resource, rids are all its names), $tenant, $untagged, $cluster.
// Returns: n, how (CONTROLS, PART_OF, RUNS_ON, SELECTS), rid, kind, ns, name, uid, updated_at.
UNWIND $touched AS t
MATCH (r:Resource)
WHERE r.rid IN t.rids AND (r.client_id = $tenant OR (r.client_id IS NULL AND $untagged))
  AND coalesce(r.cluster, '') IN ['', $cluster]
CALL (r) {
  MATCH (r)-[:CONTROLS*1..4]->(x:Resource) RETURN 'CONTROLS' AS how, x
  UNION
  MATCH (r)<-[:PART_OF*1..3]-(x:Resource) RETURN 'PART_OF' AS how, x
  UNION
  MATCH (r)-[:CONTROLS*0..4]->(place:Resource)<-[:RUNS_ON]-(x:Resource) RETURN 'RUNS_ON' AS how, x
  UNION
  MATCH (r)-[:CONTROLS*0..4]->(:Resource)<-[:RUNS_ON*0..1]-(backend:Resource)<-[:SELECTS]-(x:Resource) RETURN 'SELECTS' AS how, x
}
WITH t, how, x
WHERE x.client_id = $tenant OR (x.client_id IS NULL AND $untagged)
RETURN DISTINCT t.n AS n, how, x.rid AS rid, x.kind AS kind, x.ns AS ns, x.name AS name, x.uid AS uid, x.updated_at AS updated_at
ORDER BY n, how, rid
