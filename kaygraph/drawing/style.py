"""The stylesheets of drawings: light or dark, as the reader's system is."""

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

TIMELINE = """
.kaygraph-timeline{--paper:#fff;--ink:#1c2733;--line:#5b6b7c;--rule:#dfe5eb;--lane:#eef3f8;
--node:#d5dee7;--work:#3d7ab8;--wait:#e0a030;--queue:#a58bc8;--fail:#c62828;--starved:#9fb6cc;
--blocked:#c77f3f}
@media (prefers-color-scheme:dark){.kaygraph-timeline{--paper:#14191f;--ink:#e3e9ef;--line:#94a5b6;
--rule:#2a333d;--lane:#1f2830;--node:#33404d;--work:#5b9bd8;--wait:#d99a2b;--queue:#9377bd;
--fail:#ff6259;--starved:#4b6075;--blocked:#b9773d}}
.kaygraph-timeline .kaygraph-paper{fill:var(--paper)}
.kaygraph-timeline text{font:13px Helvetica,Arial,"Liberation Sans",sans-serif;fill:var(--ink)}
.kaygraph-timeline .kaygraph-note,.kaygraph-axis text{font-size:11px;fill:var(--line)}
.kaygraph-timeline .kaygraph-end{text-anchor:end}
.kaygraph-timeline .kaygraph-middle{text-anchor:middle}
.kaygraph-axis line{stroke:var(--rule)}
.kaygraph-bars{shape-rendering:crispEdges}
.kaygraph-bars .kaygraph-lane{fill:var(--lane)}
.kaygraph-timeline .kaygraph-node{fill:var(--node)}
.kaygraph-timeline .kaygraph-work,.kaygraph-timeline .kaygraph-busy{fill:var(--work)}
.kaygraph-timeline .kaygraph-paused,.kaygraph-timeline .kaygraph-retried{fill:var(--wait)}
.kaygraph-timeline .kaygraph-line{fill:var(--queue)}
.kaygraph-timeline .kaygraph-failed{fill:var(--fail)}
.kaygraph-timeline .kaygraph-starved{fill:var(--starved)}
.kaygraph-timeline .kaygraph-blocked{fill:var(--blocked)}
"""
