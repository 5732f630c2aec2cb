// Every node that the pipeline or KGroot keeps about one tenant, to look for what must not be there.
// Parameters: $tenant. Returns: labels, facts (properties).
CALL {
  MATCH (d:Decision {tenant: $tenant}) RETURN d AS n
  UNION
  MATCH (d:Decision {tenant: $tenant})-[:LED_TO]->(e:RunbookExecution) RETURN e AS n
  UNION
  MATCH (d:Decision {tenant: $tenant})-[:LED_TO]->(e:RunbookExecution)-[]-(n) RETURN n
  UNION
  MATCH (n:Episodic {client_id: $tenant}) RETURN n
  UNION
  MATCH (n:Resource {client_id: $tenant}) RETURN n
}
RETURN DISTINCT labels(n) AS labels, properties(n) AS facts
