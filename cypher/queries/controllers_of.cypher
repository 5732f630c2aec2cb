// What controls a resource, nearest first. A resource can have several nodes, one for each way it was named.
// Parameters: $rids (all names of the resource), $tenant, $untagged (nodes without client_id may be used).
// Returns: rid, kind, ns, name, uid, distance.
MATCH (r:Resource) WHERE r.rid IN $rids
MATCH path = (parent:Resource)-[:CONTROLS*1..6]->(r)
WHERE all(n IN nodes(path) WHERE n.client_id = $tenant OR (n.client_id IS NULL AND $untagged))
RETURN parent.rid AS rid, parent.kind AS kind, parent.ns AS ns, parent.name AS name, parent.uid AS uid,
       min(length(path)) AS distance
ORDER BY distance, rid
