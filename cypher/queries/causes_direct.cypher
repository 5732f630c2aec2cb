// Direct causes of symptoms, best first, one row for each edge.
// Tenants are compared on the nodes: most edges carry no client_id. A node without one counts as the default tenant's.
// Parameters: $symptoms [{event_id, tenant, untagged}] where untagged says that nodes without client_id may be used,
//   $per_symptom (most edges followed for each symptom).
// Returns: symptom_id, tenant, event_id, reason, severity, event_time, confidence (NULL stays NULL), hops, version,
//   about [{rid, kind, ns, name, uid}].
UNWIND $symptoms AS s
MATCH (symptom:Episodic {eid: s.event_id})
WHERE symptom.client_id = s.tenant OR (symptom.client_id IS NULL AND s.untagged)
CALL (s, symptom) {
  MATCH (symptom)<-[edge:POTENTIAL_CAUSE]-(cause:Episodic)
  WHERE cause <> symptom AND (cause.client_id = s.tenant OR (cause.client_id IS NULL AND s.untagged))
  RETURN edge, cause
  ORDER BY coalesce(edge.confidence, 0.0) DESC, cause.eid
  LIMIT $per_symptom
}
RETURN s.event_id AS symptom_id, s.tenant AS tenant, cause.eid AS event_id, cause.reason AS reason,
       cause.severity AS severity, cause.event_time AS event_time, edge.confidence AS confidence, edge.hops AS hops, edge.version AS version,
       [(cause)-[:ABOUT]->(r:Resource) WHERE r.client_id = s.tenant OR (r.client_id IS NULL AND s.untagged) |
        {rid: r.rid, kind: r.kind, ns: r.ns, name: r.name, uid: r.uid}] AS about
