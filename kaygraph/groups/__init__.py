"""Several as one: branches by quorum or race, and map-reduce."""
