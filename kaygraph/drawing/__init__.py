"""Drawings of graphs as SVG, and tables as HTML: no browser, script or network is needed."""
