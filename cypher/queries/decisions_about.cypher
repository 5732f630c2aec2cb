// Ties decisions to the events they are about, where KGroot's graph has them. No event is ever created here.
// Parameters: $rows [{id, event_id, role ('symptom' or 'cause'), tenant, untagged}]. Returns: nothing.
// Audit: nothing; the decision is told, this ties it to KGroot's events.
UNWIND $rows AS row
MATCH (e:Episodic {eid: row.event_id})
WHERE e.client_id = row.tenant OR (e.client_id IS NULL AND row.untagged)
MATCH (d:Decision {id: row.id})
MERGE (d)-[about:ABOUT]->(e)
ON CREATE SET about.role = row.role
