"""Five workflows on real input: validation, enrichment, batch, mapreduce and pipeline."""
