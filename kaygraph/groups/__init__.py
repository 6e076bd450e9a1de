"""Groups: branches by quorum or race, and map-reduce."""
