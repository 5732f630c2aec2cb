// Potential causes, as KGroot's live writer scores them. Like most of its edges these carry no client_id.
// Parameters: $rows [{cause, symptom (eids), facts (properties)}]. Returns: nothing.
UNWIND $rows AS row
MATCH (cause:Episodic {eid: row.cause})
MATCH (symptom:Episodic {eid: row.symptom})
MERGE (cause)-[edge:POTENTIAL_CAUSE]->(symptom)
SET edge += row.facts, edge.created_at = datetime()
