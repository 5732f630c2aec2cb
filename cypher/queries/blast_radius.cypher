// What depends on each touched resource: what it controls or has as a part (at any depth), what runs on it, and the services in front.
// Parameters: $touched [{n, rids, tenant, untagged, cluster}] (n numbers the resource, rids are all its names).
// Returns: n, found [{rid, kind, ns, name, uid, updated_at}] (the resource's own nodes; empty when the graph does not know it),
//   dependants [{rid, kind, ns, name, uid, updated_at}].
UNWIND $touched AS t
OPTIONAL MATCH (r:Resource)
WHERE r.rid IN t.rids AND (r.client_id = t.tenant OR (r.client_id IS NULL AND t.untagged))
  AND coalesce(r.cluster, '') IN ['', t.cluster]
CALL (r) {
  MATCH (r)-[:CONTROLS*1..4]->(below:Resource)
  RETURN collect(DISTINCT below) AS owned
}
CALL (r) {
  MATCH (r)<-[:PART_OF*1..3]-(part:Resource)
  RETURN collect(DISTINCT part) AS parts
}
WITH t, r, owned + [x IN parts WHERE NOT x IN owned] AS controlled
CALL (r, controlled) {
  UNWIND [r] + controlled AS place
  MATCH (place)<-[:RUNS_ON]-(pod:Resource)
  RETURN collect(DISTINCT pod) AS hosted
}
CALL (r, controlled, hosted) {
  UNWIND [r] + controlled + hosted AS backend
  MATCH (backend)<-[:SELECTS]-(service:Resource)
  RETURN collect(DISTINCT service) AS fronts
}
WITH t, r, [x IN controlled + hosted + fronts
            WHERE x.client_id = t.tenant OR (x.client_id IS NULL AND t.untagged)] AS dependants
RETURN t.n AS n,
       [x IN collect(r) | {rid: x.rid, kind: x.kind, ns: x.ns, name: x.name, uid: x.uid, updated_at: x.updated_at}] AS found,
       reduce(all = [], list IN collect(
         [x IN dependants | {rid: x.rid, kind: x.kind, ns: x.ns, name: x.name, uid: x.uid, updated_at: x.updated_at}])
         | all + list) AS dependants
