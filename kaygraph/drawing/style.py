"""The stylesheet of a drawing: light or dark, as the reader's system is."""

STYLE = """
.kaygraph{--paper:#fff;--ink:#1c2733;--line:#5b6b7c;--box:#eef3f8;--edge:#8a9bad;--join:#e6f0e4;
--frame:#7d8fa126;max-width:100%;height:auto}
@media (prefers-color-scheme:dark){.kaygraph{--paper:#14191f;--ink:#e3e9ef;--line:#94a5b6;
--box:#26313c;--edge:#64768a;--join:#283a2b;--frame:#9fb3c71c}}
.kaygraph-paper{fill:var(--paper)}
.kaygraph text{font:14px Helvetica,Arial,"Liberation Sans",sans-serif;fill:var(--ink)}
.kaygraph-node text{text-anchor:middle}
.kaygraph .kaygraph-part text{font-size:12px;font-weight:bold}
.kaygraph .kaygraph-edge text{font-size:12px;text-anchor:middle;fill:var(--line)}
.kaygraph-shape{fill:var(--box);stroke:var(--edge)}
.kaygraph-join .kaygraph-shape{fill:var(--join)}
.kaygraph-part .kaygraph-shape{fill:var(--frame)}
.kaygraph-behind{fill:none;stroke:var(--edge)}
.kaygraph-line{fill:none;stroke:var(--line);stroke-width:1.4}
.kaygraph-head{fill:var(--line)}
.kaygraph-back .kaygraph-line{stroke-dasharray:5 4}
.kaygraph-stream .kaygraph-line{stroke-width:3}
"""
