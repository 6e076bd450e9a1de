"""One run of an example, with its report."""

from examples.workflow import Options, Shared, Workflow
from kaygraph import RunReport


def run(workflow: Workflow, options: Options) -> tuple[Shared, RunReport]:
    shared, report = workflow.prepare(options), RunReport()
    workflow.build(options).run(shared, observers=[report])
    return shared, report
