// The two constraints that KGroot itself creates.
// Parameters: none. Returns: nothing.
CREATE CONSTRAINT kgroot_resource_rid IF NOT EXISTS FOR (r:Resource) REQUIRE r.rid IS UNIQUE;
CREATE CONSTRAINT kgroot_episodic_eid IF NOT EXISTS FOR (e:Episodic) REQUIRE e.eid IS UNIQUE;
