"""How the site is built: ``sphinx-build -W --keep-going -n -b html docs build/site``."""

import builtins
import sys
from pathlib import Path

import kaygraph

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "kaygraph"
author = "the kaygraph authors"
copyright = "2026, the kaygraph authors"
release = version = kaygraph.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "llms",
    "public_names",
    "repository",
]
exclude_patterns = ["_ext", "_static"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# What llms-full.txt has only as far as it fits, the most useful first.
llms_optional = [
    "how-to/clusters",
    "how-to/telemetry",
    "how-to/notebooks",
    "compatibility",
    "decisions",
    "concepts/code",
    "migrating",
    "benchmarks",
    "concepts/small",
    "field-notes",
]

smartquotes = False  # "loop" is what one types

html_theme = "furo"
html_title = "kaygraph"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_copy_source = False
html_show_sourcelink = False

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
maximum_signature_line_length = 88
napoleon_numpy_docstring = False

# The build reads nothing from the network: names of other projects stay without a link.
OTHERS = {*sys.stdlib_module_names, *dir(builtins), "aiohttp", "structlog", "yarl"}
nitpick_ignore_regex = [("py:.*", rf"({'|'.join(sorted(OTHERS))})(\..*)?")]
# Types that annotations name without their module, as only checkers import them.
nitpick_ignore = [
    ("py:class", name)
    for name in (
        "Arguments",  # of a function: a ParamSpec
        "Client",  # distributed.Client
        "Cluster",  # what Dask(…) makes
        "CollectorRegistry",  # prometheus_client
        "Events",  # what Graph.events() makes
        "Executor",  # concurrent.futures
        "FilteringBoundLogger",  # structlog.typing
        "MeterProvider",  # opentelemetry
        "Random",  # random.Random
        "Results",  # what Graph.results() makes
        "RunIn",  # "loop", "thread" or "process"
        "Security",  # distributed.security
        "TracerProvider",  # opentelemetry
        "UUID",  # uuid.UUID
    )
]
