// Events and what each is about.
// Parameters: $rows [{eid, facts (properties), rid, about (properties of a resource that is new)}]. Returns: nothing.
UNWIND $rows AS row
MERGE (e:Episodic {eid: row.eid})
SET e += row.facts, e.updated_at = datetime()
MERGE (r:Resource {rid: row.rid})
ON CREATE SET r += row.about, r.updated_at = datetime()
MERGE (e)-[:ABOUT]->(r)
