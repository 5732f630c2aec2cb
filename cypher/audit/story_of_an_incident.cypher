// The whole story of one incident as a graph: signal, causes, decision, execution, steps, approval, target.
// Parameters: put the incident's or decision's id (or its beginning) into the first line. Returns: paths to look at.
WITH 'put-the-id-here' AS id
CALL (id) {
  MATCH (d:Decision) WHERE d.incident_id STARTS WITH id RETURN d
  UNION
  MATCH (d:Decision) WHERE d.id STARTS WITH id RETURN d
}
OPTIONAL MATCH about = (d)-[:ABOUT]->(:Episodic)
OPTIONAL MATCH ran = (d)-[:LED_TO]->(e:RunbookExecution)
OPTIONAL MATCH around = (e)-[:STEP|APPROVED_BY|USED|TARGETS|CAUSED_BY|REMEDIATES]->()
RETURN d, about, ran, around
LIMIT 500
