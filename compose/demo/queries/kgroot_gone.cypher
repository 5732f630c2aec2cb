// Pods that no longer exist: KGroot deletes their nodes, and with them what events were about.
// Parameters: $client_id, $ns, $uids (of the pods that live). Returns: nothing.
MATCH (r:Resource {client_id: $client_id, ns: $ns, kind: 'Pod'})
WHERE NOT r.uid IN $uids
DETACH DELETE r
